import { DreamDBError } from "../errors.ts";
import type { Kernels } from "./kernels.ts";
import type { TopK } from "./top-k.ts";

export const MAX_BEAM = 65_536;
export const MAX_SLACK = 100;
/** The most a step of a walk adds: four lists of 64. */
const MAX_NEW = 256;
const WALK_WORDS = 18;

/** i8 components of a coded row. */
export function codeWidth(dim: number): number {
  return Math.ceil(dim / 16) * 16;
}

/** Bytes from one coded row to the next in memory: codes, scale and half, on whole cache lines. */
export function codeStride(dim: number): number {
  return Math.ceil((codeWidth(dim) + 8) / 64) * 64;
}

/** Where a graph lies: whole, or in blocks of 2^blockShift nodes by a table (assembly/vamana-walk.ts). */
export type GraphPlace = { rows: number; lists: number } | { table: number; blockShift: number };

/**
 * The block that tells the walk kernel where a graph is; the caller frees it.
 * @param heads so many first nodes are heads
 * @throws DreamDBError OutOfMemory
 */
export function layGraph(
  kernels: Kernels,
  nodes: number,
  dim: number,
  degree: number,
  heads: number,
  place: GraphPlace,
): number {
  const whole = "lists" in place ? [place.rows, place.lists, 0, 0] : [0, 0, place.table, place.blockShift];
  return kernels.copyIn(Uint32Array.of(nodes, codeWidth(dim), codeStride(dim), degree, ...whole, heads));
}

/** How a walk goes. */
export interface Going {
  /** Nodes kept in view, 1…maxBeam. */
  beam: number;
  /**
   * Nodes further than (1 + slack) times the distance of the `nearest`-th best so far are left out, and the walk ends at
   * them; `nearest` is 1…beam. Default: none are.
   */
  within?: { nearest: number; slack: number; isL2: boolean } | undefined;
}

/** The state of one walk over a graph; several may be under way. Until `free`. */
export class GraphWalk {
  readonly nodes: number;
  readonly dim: number;
  readonly maxBeam: number;
  private readonly kernels: Kernels;
  private readonly graph: number;
  private readonly query: number;
  private readonly seen: number;
  private readonly pool: number;
  private readonly candidates: number;
  private readonly missing: number;
  private readonly found: number;
  private pointer: number;

  /** @param graph address of `layGraph`'s block. @throws DreamDBError OutOfMemory */
  constructor(kernels: Kernels, graph: number, nodes: number, dim: number, maxBeam: number) {
    this.kernels = kernels;
    this.graph = graph;
    this.nodes = nodes;
    this.dim = dim;
    this.maxBeam = maxBeam;
    const sizes = [
      WALK_WORDS * 4,
      codeWidth(dim) * 2 + dim * 4,
      Math.ceil(nodes / 8),
      (maxBeam + MAX_NEW) * 8,
      MAX_NEW * 4 + 16,
      MAX_NEW * 4,
      maxBeam * 4,
    ];
    const starts: number[] = [];
    let bytes = 0;
    for (const size of sizes) {
      starts.push(bytes);
      bytes += Math.ceil(size / 64) * 64;
    }
    this.pointer = kernels.alloc(bytes);
    const at = (i: number): number => this.pointer + (starts[i] as number);
    this.query = at(1);
    this.seen = at(2);
    this.pool = at(3);
    this.candidates = at(4);
    this.missing = at(5);
    this.found = at(6);
  }

  /**
   * Sets out from the first `entries` nodes.
   * @param query dim f32 in index space
   * @param filter address of a bit a node, lowest first: only these are results, which `results` (an empty top-k) collects
   */
  start(query: Float32Array, entries: number, { beam, within }: Going, filter = 0, results?: TopK): void {
    const { kernels, pointer } = this;
    const floats = this.query + codeWidth(this.dim) * 2;
    kernels.f32(floats, this.dim).set(query);
    const step = kernels.exports.vamanaQuery(floats, this.dim, this.query);
    const words = kernels.u32(pointer, WALK_WORDS);
    words[0] = beam;
    kernels.f32(pointer + 16, 1)[0] = step;
    words.set(
      [this.query, this.seen, this.pool, this.candidates, this.missing, filter, results?.ptr ?? 0],
      5,
    );
    words[14] = within?.nearest ?? 0;
    if (within !== undefined) {
      const top = kernels.f32(pointer + 60, 2);
      top[0] = topScore(query, within.isL2);
      top[1] = (1 + within.slack) * (1 + within.slack);
    }
    kernels.exports.vamanaStart(pointer, entries, this.nodes);
  }

  /** Walks on. Undefined at the end, else the blocks that have to be in memory before the next call. */
  go(): Uint32Array | undefined {
    const count = this.kernels.exports.vamanaWalk(this.graph, this.pointer);
    return count === 0 ? undefined : this.kernels.u32(this.missing, count).slice();
  }

  /** The best `most` (at most maxBeam) nodes, ascending: their address, until the next call, and how many. */
  best(most: number): { nodes: number; count: number } {
    return { nodes: this.found, count: this.kernels.exports.vamanaNodes(this.pointer, most, this.found) };
  }

  /** What the walk cost so far. */
  get counts(): { scored: number; expanded: number } {
    const words = this.kernels.u32(this.pointer, WALK_WORDS);
    return { scored: words[12] as number, expanded: words[13] as number };
  }

  /** Gives the memory back; once is enough, more is harmless. */
  free(): void {
    if (this.pointer !== 0) this.kernels.free(this.pointer);
    this.pointer = 0;
  }
}

/** What a vector that equals the query scores: |q| among vectors of length 1, ½|q|² by l2. */
function topScore(query: Float32Array, isL2: boolean): number {
  let squares = 0;
  for (let k = 0; k < query.length; k++) squares += (query[k] as number) * (query[k] as number);
  return isL2 ? squares / 2 : Math.sqrt(squares);
}

/** @throws DreamDBError InvalidArgument */
export function checkBeam(beam: number): void {
  if (Number.isInteger(beam) && beam >= 1 && beam <= MAX_BEAM) return;
  throw new DreamDBError("InvalidArgument", "no such width of a walk", {
    field: "beam",
    found: beam,
    expected: `1…${MAX_BEAM}`,
  });
}
