/** A Space's dataset in a worker: answers as they come, while later requests are at work. */
import type { Cancel, Reply } from "../workers/messages.ts";
import { toWire } from "../workers/wire-error.ts";
import { SpaceHost } from "./host.ts";
import type { SpaceNews, SpaceVerb, SpaceVerbs } from "./verbs.ts";

export interface SpaceRequest {
  id: number;
  verb: SpaceVerb;
  args: SpaceVerbs[SpaceVerb]["args"];
  mayBeCancelled?: true;
}

/** Verbs whose answers hold bytes, copied for them. */
const GIVEN_AWAY: ReadonlySet<SpaceVerb> = new Set(["samples", "get", "query", "queryMany", "next"]);

/** Takes the messages of the page; answers and tells through `post`. */
export function serveSpace(
  post: (message: Reply | SpaceNews, transfer: ArrayBuffer[]) => void,
): (message: SpaceRequest | Cancel) => void {
  const host = new SpaceHost((news) => post(news, []));
  const underWay = new Map<number, AbortController>();
  const answer = async ({ id, verb, args, mayBeCancelled }: SpaceRequest): Promise<void> => {
    const ender = mayBeCancelled && new AbortController();
    if (ender !== undefined) underWay.set(id, ender);
    try {
      const value = await host.run(verb, args, ender?.signal);
      post({ id, value }, GIVEN_AWAY.has(verb) ? buffersOf(value) : []);
    } catch (error) {
      post({ id, error: toWire(error) }, []);
    } finally {
      underWay.delete(id);
    }
  };
  return (message) => {
    if ("cancel" in message) underWay.get(message.cancel)?.abort();
    else void answer(message);
  };
}

/** The buffers of the bytes in an answer, each of which holds nothing else. */
function buffersOf(value: unknown, depth = 0): ArrayBuffer[] {
  const buffers: ArrayBuffer[] = [];
  if (ArrayBuffer.isView(value)) {
    if (value.byteLength > 0 && value.byteLength === value.buffer.byteLength)
      buffers.push(value.buffer as ArrayBuffer);
  } else if (typeof value === "object" && value !== null && depth < 4) {
    for (const each of Object.values(value)) buffers.push(...buffersOf(each, depth + 1));
  }
  return buffers;
}
