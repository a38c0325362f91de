/** A cache that holds what was used last within a budget of bytes. */
export class Lru<V> {
  private readonly items = new Map<string, { value: V; bytes: number }>();
  private readonly budgetBytes: number;
  private readonly onEvict: ((value: V) => void) | undefined;
  private heldBytes = 0;

  constructor(budgetBytes: number, onEvict?: (value: V) => void) {
    this.budgetBytes = budgetBytes;
    this.onEvict = onEvict;
  }

  get bytes(): number {
    return this.heldBytes;
  }

  get(key: string): V | undefined {
    const item = this.items.get(key);
    if (item === undefined) return undefined;
    this.items.delete(key);
    this.items.set(key, item);
    return item.value;
  }

  /** Keeps `value`, dropping the longest unused; a value over the whole budget is not kept and false comes back. */
  set(key: string, value: V, bytes: number): boolean {
    this.delete(key);
    if (bytes > this.budgetBytes) return false;
    this.items.set(key, { value, bytes });
    this.heldBytes += bytes;
    for (const oldest of this.items.keys()) {
      if (this.heldBytes <= this.budgetBytes) break;
      this.delete(oldest);
    }
    return true;
  }

  delete(key: string): void {
    const item = this.items.get(key);
    if (item === undefined) return;
    this.items.delete(key);
    this.heldBytes -= item.bytes;
    this.onEvict?.(item.value);
  }

  clear(): void {
    for (const key of [...this.items.keys()]) this.delete(key);
  }
}
