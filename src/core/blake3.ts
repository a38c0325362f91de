/**
 * BLAKE3-256, the one hash of the format (spec/0002-content-addressing.md §2).
 * Short inputs go to blake3-wasm; long ones to the compute core once it is loaded, which is about twice as
 * fast there (docs/decisions/0002-blake3-in-the-core.md).
 */
import { createHash, hash } from "#blake3";
import { DreamDBError } from "../errors.ts";

/** Bytes of a digest. */
export const HASH_BYTES = 32;

/** From this length on, the bulk hasher is used; below it the copy into its memory costs more than it saves. */
const BULK_FROM_BYTES = 4096;
/** blake3-wasm copies its input whole; longer inputs are fed to it in pieces of this size. */
const PIECE_BYTES = 8 << 20;

let bulk: ((bytes: Uint8Array) => Uint8Array) | undefined;

/** Lets the compute core hash long inputs. It must compute the same function. */
export function useBulkHasher(hasher: (bytes: Uint8Array) => Uint8Array): void {
  bulk = hasher;
}

/** The 32-byte digest of `bytes`. */
export function blake3(bytes: Uint8Array): Uint8Array {
  if (bytes.length >= BULK_FROM_BYTES && bulk !== undefined) return bulk(bytes);
  if (bytes.length <= PIECE_BYTES) return new Uint8Array(hash(bytes));
  const hasher = createHash();
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) hasher.update(bytes.subarray(at, at + PIECE_BYTES));
  const digest = new Uint8Array(hasher.digest());
  hasher.dispose();
  return digest;
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
