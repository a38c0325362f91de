/**
 * BLAKE3-256, the one hash of the format (spec/0002-content-addressing.md §2).
 * Short inputs go to blake3-wasm; long ones to the compute core once it is loaded, which is about twice as
 * fast there (docs/decisions/0002-blake3-in-the-core.md). In browsers `#blake3` is blake3-plain.ts, and all go to the core.
 */
import { CORE_FROM_BYTES, hash } from "#blake3";
import { DreamDBError } from "../errors.ts";

/** Bytes of a digest. */
export const HASH_BYTES = 32;

let bulk: ((bytes: Uint8Array) => Uint8Array) | undefined;

/** Lets the compute core hash inputs. It must compute the same function. */
export function useBulkHasher(hasher: (bytes: Uint8Array) => Uint8Array): void {
  bulk = hasher;
}

/** The 32-byte digest of `bytes`. */
export function blake3(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= CORE_FROM_BYTES && bulk !== undefined) return bulk(bytes);
  return new Uint8Array(hash(bytes));
}

/** Throws `HashMismatch` unless `bytes` hash to `expected`; `what` names them in the message. */
export function checkHash(bytes: Uint8Array, expected: Uint8Array, what: string): void {
  const found = blake3(bytes);
  if (!equalBytes(found, expected)) {
    throw new DreamDBError("HashMismatch", "stored bytes do not match their hash", {
      field: what,
      found: toHex(found),
      expected: toHex(expected),
    });
  }
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** The bytes that lower- or upper-case hex spells; throws `InvalidArgument` on anything else. */
export function fromHex(text: string): Uint8Array {
  if (!/^([0-9a-fA-F]{2})*$/.test(text)) {
    throw new DreamDBError("InvalidArgument", "not hexadecimal", {
      found: text,
      expected: "an even number of hex digits",
    });
  }
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
