/** Blocks of vectors in the compute core's memory, verified there, within a budget; the owner frees what it evicts. */
import { isDreamDBError } from "../errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import type { Span } from "../objects/column.ts";
import { Lru } from "../store/lru.ts";
import { compareDigest, type OpenContainer, type Session } from "./session.ts";

/** `rows` vectors at `pointer`, each `dim` f32, and the inverse of each one's length at `invNorms`. */
export interface VectorBlock {
  pointer: number;
  invNorms: number;
  rows: number;
  /** A bit a row, lowest first, 1 where there is a value; undefined when every row has one. */
  present?: Uint8Array;
}

export interface VectorSpan {
  span: Span;
  rows: number;
  /** Where the vectors begin inside the span: after a presence bitmap, if there is one. */
  skipBytes: number;
}

/** Blocks remembered as seen: of 64 KiB each, 64 GiB of vectors. */
const MAX_SEEN = 1 << 20;

export class ResidentVectors {
  private readonly session: Session;
  private readonly kernels: Kernels;
  private readonly blocks: Lru<VectorBlock>;
  /** Blocks that were looked at once. Only those asked for again are kept: touching fresh memory costs more than the scan. */
  private readonly seen = new Set<string>();
  private scratch = { pointer: 0, bytes: 0 };

  private readonly budgetBytes: number;

  constructor(session: Session, kernels: Kernels, budgetBytes: number) {
    this.session = session;
    this.kernels = kernels;
    this.budgetBytes = budgetBytes;
    this.blocks = new Lru(budgetBytes, (block) => kernels.free(block.pointer));
  }

  /**
   * Calls `visit` with each of `spans`, in any order, while its vectors are in the core's memory. A block asked for
   * the first time only passes through; from the second time on it stays there, as far as the budget goes.
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
    const receive = (place: number, bytes: Uint8Array): void => {
      const index = missing[place] as number;
      const wanted = spans[index] as VectorSpan;
      const key = `${address}:${wanted.span.offset}`;
      const cost = wanted.rows * (dim + 1) * 4;
      const kept = this.seen.has(key) && cost <= this.budgetBytes ? this.roomFor(cost) : undefined;
      const isKept = kept !== undefined;
      const pointer = kept ?? this.scratchOf(cost);
      const block: VectorBlock = { pointer, invNorms: pointer + wanted.rows * dim * 4, rows: wanted.rows };
      if (wanted.skipBytes > 0) block.present = bytes.slice(0, Math.ceil(wanted.rows / 8));
      try {
        this.load(bytes, wanted, dim, container, block);
        visit(index, block);
      } catch (error) {
        if (isKept) this.kernels.free(pointer);
        throw error;
      }
      if (isKept) this.blocks.set(key, block, cost);
      else this.remember(key);
    };
    const wanted = missing.map((i) => (spans[i] as VectorSpan).span);
    const { whole } = container;
    if (whole === undefined) await this.session.readSpans(address, wanted, receive);
    else
      wanted.forEach((span, i) => {
        receive(i, whole.subarray(span.offset, span.offset + span.bytes));
      });
  }

  /** A block to keep, or undefined when the core's memory has no room: then nothing more stays, and all still works. */
  private roomFor(bytes: number): number | undefined {
    try {
      return this.kernels.alloc(bytes);
    } catch (error) {
      if (isDreamDBError(error, "OutOfMemory")) return undefined;
      throw error;
    }
  }

  private scratchOf(bytes: number): number {
    if (this.scratch.bytes < bytes) {
      if (this.scratch.pointer !== 0) this.kernels.free(this.scratch.pointer);
      this.scratch = { pointer: 0, bytes: 0 };
      this.scratch = { pointer: this.kernels.alloc(bytes), bytes };
    }
    return this.scratch.pointer;
  }

  private remember(key: string): void {
    if (this.seen.size >= MAX_SEEN) this.seen.clear();
    this.seen.add(key);
  }

  clear(): void {
    this.blocks.clear();
    this.seen.clear();
    if (this.scratch.pointer !== 0) this.kernels.free(this.scratch.pointer);
    this.scratch = { pointer: 0, bytes: 0 };
  }

  /** Copies a span in, checks its hash there, and computes lengths. */
  private load(
    bytes: Uint8Array,
    { rows, span, skipBytes }: VectorSpan,
    dim: number,
    container: OpenContainer<unknown>,
    { pointer, invNorms }: VectorBlock,
  ): void {
    const { kernels } = this;
    const vectorBytes = rows * dim * 4;
    kernels.bytes(pointer, vectorBytes).set(bytes.subarray(skipBytes, skipBytes + vectorBytes));
    // With a bitmap in front the block is hashed as it came; without, in place.
    const digest = skipBytes > 0 ? kernels.hashBytes(bytes) : kernels.blake3(pointer, span.bytes);
    compareDigest(
      digest,
      span.hash,
      `${container.ref.address} bytes ${span.offset}–${span.offset + span.bytes - 1}`,
    );
    kernels.rowInvNorms(pointer, rows, dim, invNorms);
  }
}
