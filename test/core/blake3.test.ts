import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "@jest/globals";
import { blake3, checkHash, equalBytes, fromHex, toHex, useBulkHasher } from "../../src/core/blake3.ts";
import { hash as plainHash } from "../../src/core/blake3-plain.ts";
import { loadKernels } from "../../src/kernels/load.ts";

interface Case {
  length: number;
  hash: string;
}
const vectors = readFileSync(new URL("../../conformance/blake3.json", import.meta.url), "utf8");
const { cases }: { cases: Case[] } = JSON.parse(vectors);
const longest = Math.max(...cases.map(({ length }) => length));
const input = Uint8Array.from({ length: longest }, (_, i) => i % 251);

/** Counts calls, so that a test shows which hasher ran. */
let bulkCalls = 0;
const hashers: Record<string, (bytes: Uint8Array) => Uint8Array> = {};

beforeAll(async () => {
  for (const mode of ["scalar", "simd"] as const) {
    const kernels = await loadKernels(mode, { fresh: true });
    hashers[mode] = (bytes) => {
      bulkCalls++;
      return kernels.hashBytes(bytes);
    };
  }
});

// First, while no bulk hasher is set.
test("every vector, without the compute core", () => {
  expect(cases.length).toBeGreaterThanOrEqual(40);
  for (const { length, hash } of cases)
    expect([length, toHex(blake3(input.subarray(0, length)))]).toEqual([length, hash]);
  expect(bulkCalls).toBe(0);
});

test("every vector, by the plain hash of browsers, also inside a larger buffer", () => {
  const shifted = new Uint8Array(input.length + 3);
  shifted.set(input, 3);
  for (const { length, hash } of cases) {
    expect([length, toHex(plainHash(input.subarray(0, length)))]).toEqual([length, hash]);
    expect(toHex(plainHash(shifted.subarray(3, 3 + length)))).toBe(hash);
  }
});

test("every length up to some chunks, by the plain hash", () => {
  for (let length = 0; length < 5200; length += length < 1100 ? 1 : 13) {
    const bytes = input.subarray(0, length);
    expect([length, toHex(plainHash(bytes))]).toEqual([length, toHex(blake3(bytes))]);
  }
});

test.each(["scalar", "simd"])("every vector, with the %s core for long inputs", (mode) => {
  useBulkHasher(hashers[mode] as (bytes: Uint8Array) => Uint8Array);
  bulkCalls = 0;
  for (const { length, hash } of cases)
    expect([length, toHex(blake3(input.subarray(0, length)))]).toEqual([length, hash]);
  expect(bulkCalls).toBe(cases.filter(({ length }) => length >= 4096).length);
});

test("an input inside a larger buffer is hashed by itself", () => {
  const shifted = new Uint8Array(input.length + 3);
  shifted.set(input, 3);
  for (const { length, hash } of cases.slice(0, -3))
    expect(toHex(blake3(shifted.subarray(3, 3 + length)))).toBe(hash);
});

test("a digest is the caller's own", () => {
  const first = blake3(Uint8Array.of(1));
  const text = toHex(first);
  blake3(Uint8Array.of(2));
  expect(toHex(first)).toBe(text);
  expect(first.byteLength).toBe(first.buffer.byteLength);
});

test("a wrong hash is told with both digests", () => {
  const bytes = Uint8Array.of(1, 2, 3);
  const digest = blake3(bytes);
  expect(() => checkHash(bytes, digest, "x")).not.toThrow();
  for (let bit = 0; bit < 256; bit++) {
    const wrong = digest.slice();
    wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7));
    const error = { code: "HashMismatch", field: "x", found: toHex(digest), expected: toHex(wrong) };
    expect(() => checkHash(bytes, wrong, "x")).toThrow(expect.objectContaining(error));
  }
  expect(() => checkHash(bytes, digest.subarray(0, 31), "x")).toThrow(
    expect.objectContaining({ code: "HashMismatch" }),
  );
  expect(equalBytes(Uint8Array.of(1), Uint8Array.of(1, 0))).toBe(false);
});

test("hex, both ways", () => {
  expect(toHex(Uint8Array.of(0, 15, 255))).toBe("000fff");
  expect([...fromHex("000fFF")]).toEqual([0, 15, 255]);
  for (const text of ["0", "0g", "0x00", " 00", "00\n"]) {
    expect(() => fromHex(text)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  }
});
