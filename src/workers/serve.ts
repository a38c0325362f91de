/** The worker's side. */
import { useBulkHasher } from "../core/blake3.ts";
import { DreamDBError } from "../errors.ts";
import type { Kernels } from "../kernels/kernels.ts";
import { adoptModule, loadKernels } from "../kernels/load.ts";
import { encodeSegment } from "../objects/segment.ts";
import { HeldIndex } from "./held-index.ts";
import type { Reply, Request, Verb, Verbs } from "./messages.ts";
import { Reader } from "./reader.ts";
import { SampleShare } from "./sample-share.ts";
import { toWire } from "./wire-error.ts";

interface Answer<V extends Verb> {
  value: Verbs[V]["value"];
  /** Buffers of the value that are given away. */
  transfer?: ArrayBuffer[];
}

type Handlers = {
  [V in Verb]: (args: Verbs[V]["args"]) => Answer<V> | Promise<Answer<V>>;
};

const DONE = { value: undefined };

class Server implements Handlers {
  private kernels: Kernels | undefined;
  private reader: Reader | undefined;
  private readonly shares = new Map<number, SampleShare>();
  private readonly indexes = new Map<number, HeldIndex>();

  async start({ mode, module }: Verbs["start"]["args"]) {
    adoptModule(mode, module);
    const kernels = await loadKernels(mode);
    useBulkHasher((bytes) => kernels.hashBytes(bytes));
    this.kernels = kernels;
    return DONE;
  }

  openShare({ share, ...size }: Verbs["openShare"]["args"]) {
    this.shares.set(share, new SampleShare(this.core, size));
    return DONE;
  }

  fillShare({ share, at, vectors }: Verbs["fillShare"]["args"]) {
    held(this.shares, share).fill(at, vectors);
    return DONE;
  }

  aimShare({ share, centroids }: Verbs["aimShare"]["args"]) {
    held(this.shares, share).aim(centroids);
    return DONE;
  }

  assignShare({ share, first, rows }: Verbs["assignShare"]["args"]) {
    const cells = held(this.shares, share).assign(first, rows);
    return { value: cells, transfer: [cells.buffer as ArrayBuffer] };
  }

  releaseShare({ share }: Verbs["releaseShare"]["args"]) {
    this.shares.get(share)?.free();
    this.shares.delete(share);
    return DONE;
  }

  openIndex({ index, ...parts }: Verbs["openIndex"]["args"]) {
    this.indexes.set(index, new HeldIndex(this.core, parts));
    return DONE;
  }

  derive({ index, vectors }: Verbs["derive"]["args"]) {
    const value = held(this.indexes, index).derive(vectors);
    return { value, transfer: [value.cells.buffer, value.codes.buffer] as ArrayBuffer[] };
  }

  releaseIndex({ index }: Verbs["releaseIndex"]["args"]) {
    this.indexes.get(index)?.free();
    this.indexes.delete(index);
    return DONE;
  }

  seal({ source }: Verbs["seal"]["args"]) {
    const value = encodeSegment(source);
    return { value, transfer: [value.bytes.buffer as ArrayBuffer] };
  }

  async search({ from, query, vectors }: Verbs["search"]["args"]) {
    const { mode } = this.core;
    if (this.reader === undefined || !this.reader.isOf(from)) {
      await this.reader?.free();
      this.reader = undefined;
      this.reader = await Reader.open(from, mode);
    }
    return { value: await this.reader.search(from, query, vectors) };
  }

  private get core(): Kernels {
    if (this.kernels !== undefined) return this.kernels;
    throw new DreamDBError("Aborted", "the worker has no compute core", { field: "workers" });
  }
}

/** What a thread that took a dead one's place was never given is gone. */
function held<T>(map: Map<number, T>, key: number): T {
  const value = map.get(key);
  if (value !== undefined) return value;
  throw new DreamDBError("Aborted", "a worker thread ended before its work was done", {
    field: "workers",
    expected: "threads that live until they have answered",
    retryable: true,
    committed: "no",
  });
}

type Take = (message: Request) => void;

type Post = (reply: Reply, transfer: ArrayBuffer[]) => void;

/**
 * Takes the messages of the thread that asks; answers through `post`. The first message tells whether the thread is a pool's or a
 * Space's, for which there is `ofSpace`.
 */
export function serve(post: Post, ofSpace: (post: never) => (message: never) => void): Take {
  let take: Take | undefined;
  return (message) => {
    take ??= (message.verb as string) === "open" ? (ofSpace(post as never) as Take) : servePool(post);
    take(message);
  };
}

/** Answers requests one after the other. */
function servePool(post: Post): Take {
  const handlers: Handlers = new Server();
  let last: Promise<void> = Promise.resolve();
  const answer = async ({ id, verb, args }: Request): Promise<void> => {
    try {
      const { value, transfer = [] } = await handlers[verb](args as never);
      post({ id, value }, transfer);
    } catch (error) {
      post({ id, error: toWire(error) }, []);
    }
  };
  return (request) => {
    last = last.then(() => answer(request));
  };
}
