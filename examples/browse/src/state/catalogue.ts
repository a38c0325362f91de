/**
 * What is kept of every record of a state: its anchor, title, categories and place on the map, as columns. Pictures and all else
 * are read when they come into view. A hundred thousand records take some megabytes.
 */
import type { DreamDBSpace } from "@dreamlake/dreamdb/space";
import { type Signal, signal } from "@preact/signals";
import { cut } from "./cut.ts";
import type { Shape } from "./shape.ts";

/** Records beyond these are found by searching and filtering only. */
const MAX_ROWS = 250_000;
/** Records that come over from the worker at once: few enough that taking them in goes unnoticed. */
const ROWS_AT_ONCE = 1024;
/** What is read comes to sight so often: each time all that shows or counts records does so anew. */
const TOLD_EVERY_MS = 250;
/** Characters that are kept of a title: data may have any number. */
export const TITLE_LENGTH = 200;
/** Longer values, and different ones beyond so many, can't be chosen. */
export const VALUE_LENGTH = 500;
export const MOST_VALUES = 5000;

/** Values by number, and the number of each record's: 0 for none. */
export interface FacetColumn {
  values: string[];
  /** Records that have each. */
  counts: number[];
  codes: Uint32Array;
  /** Records with a value that can't be chosen. */
  others: number;
}

export class Catalogue {
  /** Records read so far, in time order; of the very last moment there may be more. */
  readonly rows: Signal<number> = signal(0);
  /** Whether these are all that are to be read. */
  readonly isRead: Signal<boolean> = signal(false);
  /** Whether the state has more records than are kept. */
  isCut = false;
  anchors: BigInt64Array = new BigInt64Array(ROWS_AT_ONCE);
  readonly titles: string[] = [];
  readonly facets: Map<string, FacetColumn> = new Map();
  /** NaN for records that have no place. */
  x: Float32Array = new Float32Array(ROWS_AT_ONCE);
  y: Float32Array = new Float32Array(ROWS_AT_ONCE);
  readonly #numbers = new Map<string, Map<string, number>>();
  #taken = 0;
  #toldAt = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor({ facets }: Shape) {
    for (const name of facets) {
      this.facets.set(name, { values: [""], counts: [0], codes: new Uint32Array(ROWS_AT_ONCE), others: 0 });
      this.#numbers.set(name, new Map());
    }
  }

  /** Reads until the end or `signal`. Errors: those of reading. */
  async read(space: DreamDBSpace, shape: Shape, signal: AbortSignal): Promise<void> {
    const { title, facets, map } = shape;
    const fields = [...new Set([title, ...facets, map?.x, map?.y].filter((name) => name !== undefined))];
    try {
      for await (const batch of space.stream({ fields, batchSize: ROWS_AT_ONCE, signal })) {
        this.#take(batch as unknown as Record<string, unknown[]>, shape);
        if (this.#taken >= MAX_ROWS) {
          this.isCut = true;
          break;
        }
      }
    } finally {
      this.#tell();
    }
    this.isRead.value = true;
  }

  /** The row of a record, or -1. */
  rowOf(anchor: bigint): number {
    let [low, high] = [0, this.rows.peek() - 1];
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.anchors[middle] as bigint;
      if (found === anchor) return middle;
      if (found < anchor) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  /** A category of a row, or "". */
  valueOf(facet: string | undefined, row: number): string {
    const column = facet === undefined ? undefined : this.facets.get(facet);
    return column?.values[column.codes[row] ?? 0] ?? "";
  }

  #take(batch: Record<string, unknown[]>, { title, facets, map }: Shape): void {
    const anchors = batch._time_anchors as bigint[];
    const from = this.#taken;
    const rows = from + anchors.length;
    this.#reserve(rows);
    for (const [i, anchor] of anchors.entries()) this.anchors[from + i] = anchor;
    const titles = title === undefined ? undefined : batch[title];
    for (let i = 0; i < anchors.length; i++) this.titles.push(cut(String(titles?.[i] ?? ""), TITLE_LENGTH));
    for (const name of facets) this.#number(name, batch[name] ?? [], from);
    if (map !== undefined) {
      const [x, y] = [batch[map.x] ?? [], batch[map.y] ?? []] as [number[], number[]];
      for (let i = 0; i < anchors.length; i++) {
        this.x[from + i] = x[i] ?? Number.NaN;
        this.y[from + i] = y[i] ?? Number.NaN;
      }
    }
    this.#taken = rows;
    const wait = this.#toldAt + TOLD_EVERY_MS - performance.now();
    if (wait <= 0) this.#tell();
    else this.#timer ??= setTimeout(() => this.#tell(), wait);
  }

  #tell(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#toldAt = performance.now();
    this.rows.value = this.#taken;
  }

  #number(name: string, values: readonly unknown[], from: number): void {
    const column = this.facets.get(name) as FacetColumn;
    const numbers = this.#numbers.get(name) as Map<string, number>;
    for (const [i, value] of values.entries()) {
      if (value === undefined) continue;
      const text = String(value);
      let code = numbers.get(text);
      if (code === undefined) {
        if (text.length > VALUE_LENGTH || column.values.length > MOST_VALUES) {
          column.others++;
          continue;
        }
        code = column.values.push(text) - 1;
        column.counts.push(0);
        numbers.set(text, code);
      }
      column.counts[code]!++;
      column.codes[from + i] = code;
    }
  }

  #reserve(rows: number): void {
    if (rows <= this.anchors.length) return;
    const capacity = Math.max(rows, 2 * this.anchors.length);
    const grown = <T extends { set(from: T): void }>(make: new (length: number) => T, from: T): T => {
      const larger = new make(capacity);
      larger.set(from);
      return larger;
    };
    this.anchors = grown(BigInt64Array, this.anchors);
    this.x = grown(Float32Array, this.x);
    this.y = grown(Float32Array, this.y);
    for (const column of this.facets.values()) column.codes = grown(Uint32Array, column.codes);
  }
}
