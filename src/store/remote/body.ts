import { MAX_OBJECT_BYTES } from "../../core/cbor.ts";
import { DreamDBError } from "../../errors.ts";
import type { ByteRange } from "../store.ts";
import type { WireAnswer } from "./wire.ts";

/**
 * The bytes of a 200 or 206 that was asked for `range` (all of it, when undefined), in a buffer of their own. A server may answer a range with
 * the whole value; what is too much is cut off and the transfer ended. `onProgress` is called for every chunk.
 * Errors: `StoreUnavailable` (retryable) for a body cut short, `LimitExceeded` beyond the 100 MiB of any object.
 */
export async function readBody(
  answer: WireAnswer,
  range: ByteRange | undefined,
  onProgress: () => void,
): Promise<Uint8Array> {
  const { skip, expected, atMost } = extent(answer, range);
  const buffer = new Growing(expected ?? 0);
  let toSkip = skip;
  for await (const chunk of answer.chunks) {
    onProgress();
    const from = Math.min(toSkip, chunk.length);
    toSkip -= from;
    buffer.add(chunk.subarray(from, from + (atMost - buffer.length)));
    if (buffer.length === atMost && (range !== undefined || expected === undefined)) break;
  }
  answer.cancel();
  if (range === undefined && buffer.length > MAX_OBJECT_BYTES) throw tooLong(buffer.length);
  if (expected !== undefined && buffer.length !== expected) throw cutShort(buffer.length, expected);
  return buffer.bytes();
}

interface Extent {
  /** Bytes of the body before the first that was asked for. */
  skip: number;
  /** Undefined when headers don't tell; what comes is then checked by hash alone. */
  expected: number | undefined;
  atMost: number;
}

function extent(answer: WireAnswer, range: ByteRange | undefined): Extent {
  const { lengthBytes } = answer;
  if (range === undefined) {
    if (lengthBytes !== undefined && lengthBytes > MAX_OBJECT_BYTES) {
      answer.cancel();
      throw tooLong(lengthBytes);
    }
    return { skip: 0, expected: lengthBytes, atMost: lengthBytes ?? MAX_OBJECT_BYTES + 1 };
  }
  const { offset, length } = range;
  if (answer.status !== 206) {
    const expected = lengthBytes === undefined ? undefined : within(length, lengthBytes - offset);
    return { skip: offset, expected, atMost: expected ?? length };
  }
  const found = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(answer.contentRange ?? "");
  if (found === null) return { skip: 0, expected: undefined, atMost: length };
  const first = Number(found[1]);
  const last = Number(found[2]);
  if (first !== offset) {
    answer.cancel();
    throw new DreamDBError("StoreUnavailable", "the server sent another range than was asked for", {
      field: "Content-Range",
      found: answer.contentRange,
      expected: `bytes ${offset}-`,
    });
  }
  // A server may send less than the rest of the value; the whole value's length tells.
  const rest = found[3] === "*" ? last - first + 1 : Number(found[3]) - first;
  const expected = within(length, rest);
  return { skip: 0, expected, atMost: expected };
}

function within(length: number, rest: number): number {
  return Math.max(0, Math.min(length, rest));
}

function cutShort(found: number, expected: number): DreamDBError {
  return new DreamDBError("StoreUnavailable", "the server's answer was cut short", {
    field: "body",
    found,
    expected: `${expected} bytes`,
    retryable: true,
  });
}

function tooLong(found: number): DreamDBError {
  return new DreamDBError("LimitExceeded", "a stored value is longer than any object may be", {
    field: "body",
    found,
    expected: `at most ${MAX_OBJECT_BYTES} bytes`,
  });
}

/** Bytes of a known or unknown number, copied once when it is known. */
class Growing {
  length = 0;
  private held: Uint8Array;

  constructor(expected: number) {
    this.held = new Uint8Array(expected);
  }

  add(chunk: Uint8Array): void {
    const end = this.length + chunk.length;
    if (end > this.held.length) {
      const larger = new Uint8Array(Math.max(end, 2 * this.held.length, 4096));
      larger.set(this.held.subarray(0, this.length));
      this.held = larger;
    }
    this.held.set(chunk, this.length);
    this.length = end;
  }

  bytes(): Uint8Array {
    return this.length === this.held.length ? this.held : this.held.slice(0, this.length);
  }
}
