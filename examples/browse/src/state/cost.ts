/** What a search cost, as the events of the Space and `explain` tell. */
import type { DreamDBSpace, VectorQuery, WatchedRequest } from "@dreamlake/dreamdb/space";

export type Explanation = Awaited<ReturnType<DreamDBSpace["explain"]>>;

export interface Cost {
  /** What was searched for, in words. */
  label: string;
  /** From the question to the vector: the model's part. 0 by example. */
  modelMs: number;
  /** The search itself, as the page saw it. */
  ms: number;
  /** That ended while it ran. */
  requests: readonly WatchedRequest[];
  bytes: number;
  hits: number;
  /** The same query once more, when all it needs is in memory. */
  again: Explanation | undefined;
}

/** Runs `work` and tells what was asked of the bucket meanwhile. */
export async function measured<T>(
  space: DreamDBSpace,
  work: () => PromiseLike<T>,
): Promise<{ value: T; ms: number; requests: WatchedRequest[]; bytes: number }> {
  const requests: WatchedRequest[] = [];
  const take = ({ detail }: CustomEvent<WatchedRequest>) => requests.push(detail);
  space.addEventListener("request", take);
  const began = performance.now();
  try {
    const value = await work();
    const ms = performance.now() - began;
    return { value, ms, requests, bytes: requests.reduce((sum, { bytes }) => sum + bytes, 0) };
  } finally {
    space.removeEventListener("request", take);
  }
}

/** How carefully a search looks, as options of the library. */
export type Quality = "fast" | "balanced" | "all";

export function effort(
  quality: Quality,
  { index, cells }: { index: string; cells: number },
): Pick<VectorQuery, "nprobe" | "beam"> {
  if (quality === "balanced") return {};
  if (index === "graph") return { beam: quality === "fast" ? 64 : 1024 };
  if (index !== "cells") return {};
  return { nprobe: quality === "fast" ? Math.max(1, Math.ceil(Math.sqrt(cells))) : cells };
}
