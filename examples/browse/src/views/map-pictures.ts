/** Pictures of the few records that a close view of the map has, as bitmaps for the canvas. */
import type { DreamDBSpace } from "@dreamlake/dreamdb/space";
import { type Signal, signal } from "@preact/signals";
import { readRow } from "../state/row.ts";

export class MapPictures {
  /** Counts what has come in, so that the map is drawn again. */
  readonly version: Signal<number> = signal(0);
  readonly #space: DreamDBSpace;
  readonly #field: string;
  /** Undefined while it is read, and where there is none that may be shown. */
  readonly #held = new Map<bigint, ImageBitmap | undefined>();
  readonly #ender = new AbortController();

  constructor(space: DreamDBSpace, field: string) {
    this.#space = space;
    this.#field = field;
  }

  of(anchor: bigint): ImageBitmap | undefined {
    return this.#held.get(anchor);
  }

  /** Holds the pictures of these records, and of no others. */
  show(anchors: readonly bigint[]): void {
    const wanted = new Set(anchors);
    for (const anchor of this.#held.keys()) if (!wanted.has(anchor)) this.#drop(anchor);
    for (const anchor of anchors) if (!this.#held.has(anchor)) void this.#read(anchor);
  }

  close(): void {
    this.#ender.abort();
    for (const anchor of [...this.#held.keys()]) this.#drop(anchor);
  }

  async #read(anchor: bigint): Promise<void> {
    this.#held.set(anchor, undefined);
    try {
      const row = await readRow(this.#space, anchor, [this.#field], this.#ender.signal);
      const media = row?.media.get(this.#field);
      if (media === undefined || media.refusal !== undefined) return;
      const bitmap = await createImageBitmap(media.blob());
      if (!this.#held.has(anchor)) return bitmap.close();
      this.#held.set(anchor, bitmap);
      this.version.value++;
    } catch {
      // Its point is there all the same.
    }
  }

  #drop(anchor: bigint): void {
    this.#held.get(anchor)?.close();
    this.#held.delete(anchor);
  }
}
