import { beforeAll, expect, test } from "@jest/globals";
import { hash } from "#blake3";
import { bothBuilds, seeded } from "./reference.ts";
import type { Kernels } from "./subject.ts";

let builds: Kernels[];
const random = seeded(5);
const input = Uint8Array.from({ length: 1_200_000 }, () => random() * 256);

beforeAll(async () => {
  builds = await bothBuilds();
});

const around = (n: number): number[] => [n - 1, n, n + 1];

/** Round every block, chunk, group of four chunks, run, power of two; and some in between. */
const LENGTHS = [
  ...new Set([
    ...Array.from({ length: 131 }, (_, i) => i),
    ...[
      192, 512, 960, 1024, 1088, 2048, 3072, 4096, 5120, 6144, 7168, 8192, 9216, 12288, 16384, 17408,
    ].flatMap(around),
    ...[
      31 * 1024,
      32 * 1024,
      33 * 1024,
      63 * 1024,
      65536,
      65 * 1024,
      68 * 1024,
      131072,
      196608,
      200_000,
    ].flatMap(around),
    ...[262144, 262144 + 1024, 327680, 524288, 786432, 1048576, 1048576 + 65536].flatMap(around),
    ...Array.from({ length: 60 }, () => Math.floor(random() * 20_000)),
    ...Array.from({ length: 20 }, () => Math.floor(random() * input.length)),
  ]),
];

const text = (digest: Uint8Array): string => Buffer.from(digest).toString("hex");

test("every length gives the digest of the reference library, in memory and copied in", () => {
  for (const kernels of builds) {
    const at = kernels.copyIn(input);
    for (const length of LENGTHS) {
      const wanted = text(hash(input.subarray(0, length)));
      expect({ length, digest: text(kernels.blake3(at, length)) }).toEqual({ length, digest: wanted });
      expect({ length, digest: text(kernels.hashBytes(input.subarray(0, length))) }).toEqual({
        length,
        digest: wanted,
      });
    }
    for (const [offset, length] of [
      [1, 70_001],
      [3, 4096],
      [61, 5000],
    ] as const) {
      expect(text(kernels.blake3(at + offset, length))).toBe(
        text(hash(input.subarray(offset, offset + length))),
      );
    }
    kernels.free(at);
  }
});

test("the published digest of nothing", () => {
  for (const kernels of builds) {
    expect(text(kernels.hashBytes(new Uint8Array(0)))).toBe(
      "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    );
  }
});
