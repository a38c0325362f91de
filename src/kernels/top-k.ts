import { DreamDBError } from "../errors.ts";
import type { Kernels } from "./kernels.ts";

const MAX_K = 2 ** 24;

/**
 * The best k of all (score, id) offered so far: higher score first, ties by the lower id, whatever the order
 * they were offered in. Its state lives in the compute core's memory until `free`.
 */
export class TopK {
  readonly k: number;
  private readonly kernels: Kernels;
  private pointer: number;

  constructor(kernels: Kernels, k: number) {
    if (!Number.isInteger(k) || k < 1 || k > MAX_K) {
      throw new DreamDBError("InvalidArgument", "no such number of results", {
        field: "k",
        found: k,
        expected: `1…${MAX_K}`,
      });
    }
    this.kernels = kernels;
    this.k = k;
    // The state and, behind it, room for what `drain` writes: draining must not run out of memory.
    this.pointer = kernels.alloc(kernels.exports.topkBytes(k) + k * 8);
    this.reset();
  }

  /** Address of the state. @throws DreamDBError InvalidArgument after `free` */
  get ptr(): number {
    if (this.pointer !== 0) return this.pointer;
    throw new DreamDBError("InvalidArgument", "this top-k was freed", { field: "topK" });
  }

  /** Forgets what was offered. */
  reset(): void {
    this.kernels.exports.topkReset(this.ptr, this.k);
  }

  /** Offers n scores (address of f32 × n) as ids firstId, firstId + 1, …, or ids[i] + firstId when `ids` (u32 × n) is given. */
  push(scores: number, n: number, firstId: number, ids = 0): void {
    if (ids === 0) this.kernels.exports.topkPush(this.ptr, scores, n, firstId);
    else this.kernels.exports.topkPushIds(this.ptr, scores, n, firstId, ids);
  }

  /** The entries held, best first (copies, equal lengths ≤ k); empties the state. */
  drain(): { scores: Float32Array; ids: Uint32Array } {
    const { kernels, k, ptr } = this;
    const scores = ptr + kernels.exports.topkBytes(k);
    const ids = scores + k * 4;
    const count = kernels.exports.topkDrain(ptr, scores, ids);
    return { scores: kernels.f32(scores, count).slice(), ids: kernels.u32(ids, count).slice() };
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    if (this.pointer !== 0) this.kernels.free(this.pointer);
    this.pointer = 0;
  }
}
