/** RFC 4648 base32, lower case, without padding (spec/0002-content-addressing.md §3). */
import { DreamDBError } from "../errors.ts";

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

const CODES = Uint8Array.from(ALPHABET, (char) => char.charCodeAt(0));

export function encodeBase32(bytes: Uint8Array): string {
  const codes = new Array<number>(Math.ceil((8 * bytes.length) / 5));
  let at = 0;
  let buffer = 0;
  let bits = 0;
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      codes[at++] = CODES[(buffer >>> bits) & 31] as number;
    }
    buffer &= (1 << bits) - 1;
  }
  if (bits > 0) codes[at++] = CODES[(buffer << (5 - bits)) & 31] as number;
  return String.fromCharCode(...codes);
}

/** Decodes strictly: other characters, impossible lengths and non-zero spare bits throw `InvalidAddress`. */
export function decodeBase32(text: string): Uint8Array {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8));
  let buffer = 0;
  let bits = 0;
  let at = 0;
  for (const char of text) {
    const value = ALPHABET.indexOf(char);
    if (value < 0)
      throw new DreamDBError("InvalidAddress", "not a base32 character", {
        found: char,
        expected: "a–z or 2–7",
      });
    buffer = (buffer << 5) | value;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = buffer >>> bits;
      buffer &= (1 << bits) - 1;
    }
  }
  if (bits >= 5 || buffer !== 0) {
    throw new DreamDBError("InvalidAddress", "base32 text with spare bits set", {
      found: text,
      expected: "canonical base32",
    });
  }
  return bytes;
}
