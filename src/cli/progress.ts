/** Progress on stderr: a bar for people, a line every few seconds for log files. */
import { SingleBar } from "cli-progress";
import { bytesText } from "./text.ts";

export interface ProgressOptions {
  label: string;
  /** What is counted; bytes are shown with their units. */
  unit: string;
  /** Undefined when nobody knows, as with a pipe. */
  total?: number | undefined;
  isQuiet: boolean;
}

const LINE_EVERY_MS = 5_000;

export class Progress {
  private readonly options: ProgressOptions;
  private readonly bar: SingleBar | undefined;
  private nextLineAt = Date.now() + LINE_EVERY_MS;

  constructor(options: ProgressOptions) {
    this.options = options;
    if (options.isQuiet || !process.stderr.isTTY) return;
    const format =
      options.total === undefined
        ? "{label} {count} {note} {duration_formatted}"
        : "{label} {bar} {percentage}% {note} {duration_formatted}";
    this.bar = new SingleBar({
      format,
      clearOnComplete: true,
      hideCursor: true,
      barCompleteChar: "█",
      barIncompleteChar: "░",
    });
    this.bar.start(options.total ?? 1, 0, { label: options.label, count: "", note: "" });
  }

  /** @param note what else to say, such as how many records that was */
  update(done: number, note = ""): void {
    const { label, total, isQuiet } = this.options;
    if (this.bar !== undefined) {
      this.bar.update(total === undefined ? 0 : Math.min(done, total), { count: this.count(done), note });
    } else if (!isQuiet && Date.now() >= this.nextLineAt) {
      this.nextLineAt = Date.now() + LINE_EVERY_MS;
      const of = total === undefined ? "" : ` of ${this.count(total)}`;
      process.stderr.write(`${label} ${this.count(done)}${of}${note === "" ? "" : `, ${note}`}\n`);
    }
  }

  stop(): void {
    this.bar?.stop();
  }

  private count(done: number): string {
    return this.options.unit === "bytes" ? bytesText(done) : `${done} ${this.options.unit}`;
  }
}

/** One bar after the other: a new one for each stage, and for a count that begins anew within one, as a second field's does. */
export class Stages<S extends string> {
  private readonly labels: Record<S, Pick<ProgressOptions, "label" | "unit">>;
  private readonly isQuiet: boolean;
  private last: { stage: S; done: number } | undefined;
  private bar: Progress | undefined;

  constructor(labels: Record<S, Pick<ProgressOptions, "label" | "unit">>, isQuiet: boolean) {
    this.labels = labels;
    this.isQuiet = isQuiet;
  }

  update({ stage, done, total }: { stage: S; done: number; total?: number }): void {
    if (this.last?.stage !== stage || done < this.last.done) {
      this.stop();
      this.bar = new Progress({ ...this.labels[stage], total, isQuiet: this.isQuiet });
    }
    this.last = { stage, done };
    this.bar?.update(done);
  }

  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }
}
