/** Runs tasks of one name one after the other, in the order they came; those of other names don't wait. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  run<T>(name: string, task: () => Promise<T>): Promise<T> {
    const result = (this.#last.get(name) ?? Promise.resolve()).then(task);
    const end = () => {
      if (this.#last.get(name) === ended) this.#last.delete(name);
    };
    const ended: Promise<void> = result.then(end, end);
    this.#last.set(name, ended);
    return result;
  }
}
