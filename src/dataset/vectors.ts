/** Blocks of vectors in the compute core's memory, verified there, within a budget; the owner frees what it evicts. */
import type { Kernels } from "../kernels/kernels.ts";
import type { Span } from "../objects/column.ts";
import { Lru } from "../store/lru.ts";
import { compareDigest, type OpenContainer, type Session } from "./session.ts";

/** `rows` vectors at `pointer`, each `dim` f32, and the inverse of each one's length at `invNorms`. */
export interface VectorBlock {
  pointer: number;
  invNorms: number;
  rows: number;
}

export interface VectorSpan {
  span: Span;
  rows: number;
  /** Where the vectors begin inside the span: after a presence bitmap, if there is one. */
  skipBytes: number;
}

export class ResidentVectors {
  private readonly session: Session;
  private readonly kernels: Kernels;
  private readonly blocks: Lru<VectorBlock>;

  constructor(session: Session, kernels: Kernels, budgetBytes: number) {
    this.session = session;
    this.kernels = kernels;
    this.blocks = new Lru(budgetBytes, (block) => kernels.free(block.pointer));
  }

  /**
   * Calls `visit` with each of `spans`, in any order, as it becomes resident. A block that the budget has no
   * room for is freed when `visit` returns.
   */
  async visit(
    container: OpenContainer<unknown>,
    dim: number,
    spans: readonly VectorSpan[],
    visit: (index: number, block: VectorBlock) => void,
  ): Promise<void> {
    const { address } = container.ref;
    const missing: number[] = [];
    spans.forEach((wanted, i) => {
      const held = this.blocks.get(`${address}:${wanted.span.offset}`);
      if (held === undefined) missing.push(i);
      else visit(i, held);
    });
    if (missing.length === 0) return;
    const load = (place: number, bytes: Uint8Array): void => {
      const index = missing[place] as number;
      const wanted = spans[index] as VectorSpan;
      const block = this.load(bytes, wanted, dim, container);
      visit(index, block);
      const cost = wanted.rows * (dim + 1) * 4;
      if (!this.blocks.set(`${address}:${wanted.span.offset}`, block, cost)) this.kernels.free(block.pointer);
    };
    const wanted = missing.map((i) => (spans[i] as VectorSpan).span);
    const { whole } = container;
    if (whole !== undefined) wanted.forEach((span, i) => load(i, whole.subarray(span.offset, span.offset + span.bytes)));
    else await this.session.readSpans(address, wanted, load);
  }

  clear(): void {
    this.blocks.clear();
  }

  /** Copies a span in, checks its hash there, and computes lengths. */
  private load(bytes: Uint8Array, wanted: VectorSpan, dim: number, container: OpenContainer<unknown>): VectorBlock {
    const { kernels } = this;
    const { rows, span, skipBytes } = wanted;
    const vectorBytes = rows * dim * 4;
    const pointer = kernels.alloc(vectorBytes + rows * 4);
    try {
      const vectors = bytes.subarray(skipBytes, skipBytes + vectorBytes);
      kernels.bytes(pointer, vectorBytes).set(vectors);
      // With a bitmap in front the block is hashed as it came; without, in place.
      const digest = skipBytes > 0 ? kernels.hashBytes(bytes) : kernels.blake3(pointer, span.bytes);
      compareDigest(digest, span.hash, `${container.ref.address} bytes ${span.offset}–${span.offset + span.bytes - 1}`);
      kernels.rowInvNorms(pointer, rows, dim, pointer + vectorBytes);
      return { pointer, invNorms: pointer + vectorBytes, rows };
    } catch (error) {
      kernels.free(pointer);
      throw error;
    }
  }
}
