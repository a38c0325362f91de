/** The records of a listing that are in view, read a page at a time and let go when they are scrolled away. */
import type { DreamDBSpace } from "@dreamlake/dreamdb/space";
import { type Signal, signal } from "@preact/signals";
import type { Listing } from "./listing.ts";
import { freeRow, type Row, readRow, rowOf } from "./row.ts";
import type { Travels } from "./travels.ts";

const PAGE_ROWS = 24;
/** Pages that are kept on either side of those in view. */
const PAGES_AROUND = 1;

interface Page {
  ender: AbortController;
  /** Records of it that were there when it was asked for: a listing may still grow. */
  wanted: number;
  rows: (Row | undefined)[];
}

export class Records {
  readonly listing: Listing;
  /** Counts what has been read, so that views know to look again. */
  readonly version: Signal<number> = signal(0);
  /** Why the last page could not be read. */
  readonly failure: Signal<unknown> = signal(undefined);
  readonly #travels: Travels;
  readonly #space: DreamDBSpace;
  readonly #fields: string[];
  readonly #pages = new Map<number, Page>();

  /** Of the state that is shown now. */
  constructor(travels: Travels, listing: Listing, fields: string[]) {
    this.#travels = travels;
    this.#space = travels.shown.peek();
    this.listing = listing;
    this.#fields = fields;
  }

  at(position: number): Row | undefined {
    return this.#pages.get(Math.floor(position / PAGE_ROWS))?.rows[position % PAGE_ROWS];
  }

  /** Records whose pictures are held. */
  get held(): number {
    let rows = 0;
    for (const page of this.#pages.values()) rows += page.rows.length;
    return rows;
  }

  /** Positions [first, last] are in view now. */
  show(first: number, last: number): void {
    const from = Math.max(0, Math.floor(first / PAGE_ROWS) - PAGES_AROUND);
    const to = Math.min(Math.floor(last / PAGE_ROWS) + PAGES_AROUND, this.#lastPage());
    for (const number of this.#pages.keys()) if (number < from || number > to) this.#drop(number);
    for (let number = from; number <= to; number++) {
      const page = this.#pages.get(number);
      if (page !== undefined && page.wanted === this.#rowsOf(number)) continue;
      if (page !== undefined) this.#drop(number);
      void this.#load(number);
    }
  }

  /** Reads once more what is in view. */
  retry(): void {
    const numbers = [...this.#pages.keys()];
    this.failure.value = undefined;
    for (const number of numbers) {
      this.#drop(number);
      void this.#load(number);
    }
  }

  close(): void {
    for (const number of [...this.#pages.keys()]) this.#drop(number);
  }

  async #load(number: number): Promise<void> {
    const page: Page = { ender: new AbortController(), wanted: this.#rowsOf(number), rows: [] };
    this.#pages.set(number, page);
    try {
      const rows = await this.#read(number * PAGE_ROWS, page.wanted, page.ender.signal);
      if (page.ender.signal.aborted) freeRows(rows);
      else page.rows = rows;
      this.version.value++;
    } catch (error) {
      const { signal } = page.ender;
      if (signal.aborted || (await this.#travels.outlives(this.#space, error)) || signal.aborted) return;
      this.failure.value = error;
    }
  }

  async #read(from: number, count: number, signal: AbortSignal): Promise<(Row | undefined)[]> {
    const { listing } = this;
    const anchors = Array.from({ length: count }, (_, i) => listing.anchorAt(from + i));
    const fields = this.#fields;
    // Hits lie anywhere in time: each is looked up by itself.
    if (listing.kind === "hits")
      return Promise.all(anchors.map((anchor) => readRow(this.#space, anchor, fields, signal)));
    const range = { from: anchors[0] as bigint, to: anchors.at(-1) as bigint };
    const where = listing.where === undefined ? {} : { where: listing.where };
    const samples = await this.#space.samples({ range, ...where, limit: count, fields, signal });
    const tracks = this.#space.tracks();
    const found = new Map(samples.map((sample) => [sample._anchor, rowOf(sample._anchor, sample, tracks)]));
    return anchors.map((anchor) => found.get(anchor));
  }

  #drop(number: number): void {
    const page = this.#pages.get(number);
    this.#pages.delete(number);
    page?.ender.abort();
    if (page !== undefined) freeRows(page.rows);
  }

  #lastPage(): number {
    return Math.floor((this.listing.length - 1) / PAGE_ROWS);
  }

  #rowsOf(number: number): number {
    return Math.min(PAGE_ROWS, this.listing.length - number * PAGE_ROWS);
  }
}

function freeRows(rows: readonly (Row | undefined)[]): void {
  for (const row of rows) if (row !== undefined) freeRow(row);
}
