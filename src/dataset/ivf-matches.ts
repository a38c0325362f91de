/** Where the rows that filters leave lie in the cells of an index in memory: for the last few filters, and of all rows. */
import type { IvfIndex } from "../kernels/ivf.ts";
import { IvfMatches, type Matches } from "../kernels/ivf-matches.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Ordinals } from "./filter.ts";

/** Filters whose lists are kept. */
const MAX_LISTS = 32;

export class FilterMatches {
  private readonly kernels: Kernels;
  private readonly index: IvfIndex;
  private held: IvfMatches | undefined;
  /** By the bits of the filter. */
  private readonly lists = new Map<Uint8Array, Matches>();
  private listBytes = 0;

  constructor(kernels: Kernels, index: IvfIndex) {
    this.kernels = kernels;
    this.index = index;
  }

  /** Bytes in the compute core's memory. */
  get bytes(): number {
    return (this.held?.bytes ?? 0) + this.listBytes;
  }

  /** Bytes that the first search of a timeline of so many rows adds. */
  missingBytes(rows: number): number {
    return this.held?.rows === rows ? 0 : IvfMatches.bytesFor(this.index.cells, rows);
  }

  /** The places of rows, taken down when first asked for. All cells are loaded, their rows numbered. */
  places(rows: number): IvfMatches {
    if (this.held?.rows !== rows) {
      this.clear();
      this.held = new IvfMatches(this.kernels, this.index, rows);
    }
    return this.held;
  }

  /** The rows that a filter leaves. @param rows of the timeline */
  of({ bits, count }: Ordinals, rows: number): Matches {
    const places = this.places(rows);
    const known = this.lists.get(bits);
    if (known !== undefined) {
      this.lists.delete(bits);
      this.lists.set(bits, known);
      return known;
    }
    for (const oldest of this.lists.keys()) {
      if (this.lists.size < MAX_LISTS) break;
      this.drop(oldest);
    }
    const found = places.list(bits, count);
    this.lists.set(bits, found);
    this.listBytes += found.bytes;
    return found;
  }

  /** Forgets all: cells get other rows, or rows other numbers. */
  clear(): void {
    for (const bits of [...this.lists.keys()]) this.drop(bits);
    this.held?.free();
    this.held = undefined;
  }

  private drop(bits: Uint8Array): void {
    const { list, bytes } = this.lists.get(bits) as Matches;
    this.kernels.free(list);
    this.listBytes -= bytes;
    this.lists.delete(bits);
  }
}
