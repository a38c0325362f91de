/** Lines of a byte stream, in bounded memory. */
import { DreamDBError } from "../index.node.ts";

export interface Line {
  /** From 1. */
  number: number;
  text: string;
}

/** Longer than any record should be, and short enough for one string. */
const MAX_LINE_BYTES = 256 << 20;
const LF = 0x0a;

/**
 * Splits at LF or CRLF; a byte-order mark at the start is dropped.
 * Errors: `InvalidArgument` for bytes that are not UTF-8, `LimitExceeded` for a line over 256 MiB; with its number.
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Line> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let number = 1;
  let parts: Uint8Array[] = [];
  let waitingBytes = 0;
  const take = (last: Uint8Array): Line => {
    const bytes = parts.length === 0 ? last : Buffer.concat([...parts, last]);
    parts = [];
    waitingBytes = 0;
    const text = decode(decoder, bytes, number);
    return { number: number++, text };
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(LF); end >= 0; end = chunk.indexOf(LF, from)) {
      yield take(chunk.subarray(from, end));
      from = end + 1;
    }
    if (from === chunk.length) continue;
    parts.push(chunk.subarray(from));
    waitingBytes += chunk.length - from;
    if (waitingBytes > MAX_LINE_BYTES) {
      throw new DreamDBError("LimitExceeded", `line ${number} is too long`, {
        found: waitingBytes,
        expected: `at most ${MAX_LINE_BYTES} bytes`,
      });
    }
  }
  if (parts.length > 0) yield take(new Uint8Array(0));
}

function decode(decoder: TextDecoder, bytes: Uint8Array, number: number): string {
  try {
    const text = decoder.decode(bytes);
    const from = number === 1 && text.startsWith("\ufeff") ? 1 : 0;
    return text.slice(from, text.endsWith("\r") ? -1 : undefined);
  } catch (cause) {
    throw new DreamDBError("InvalidArgument", `line ${number} is not UTF-8`, {
      found: bytes,
      expected: "UTF-8 text",
      cause,
    });
  }
}
