/** Text of stored bytes. */
import { DreamDBError } from "../errors.ts";

/** A byte order mark at the start of a text is part of it. */
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Errors: `Corrupt` naming `field` when the bytes are no UTF-8. */
export function decodeUtf8(bytes: Uint8Array, field: string): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new DreamDBError("Corrupt", "stored text is not UTF-8", { field, found: bytes, expected: "UTF-8" });
  }
}

const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** A lone surrogate has no UTF-8 form: encoders would replace it, and two texts would become one. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}
