import { beforeAll, describe, expect, test } from "@jest/globals";
import {
  bitsOf,
  bothBuilds,
  cellOf,
  chachaBlock,
  dot,
  FILLS,
  filled,
  hyperplanes,
  seeded,
} from "./reference.ts";
import type { Kernels } from "./subject.ts";

let builds: Kernels[];

beforeAll(async () => {
  builds = await bothBuilds();
});

const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

// RFC 8439: section 2.3.2, and appendix A.1 test vectors 1, 2 and 4.
const BLOCKS: [key: string, nonce: string, counter: number, block: string][] = [
  [
    KEY,
    "000000090000004a00000000",
    1,
    "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e",
  ],
  [
    "00".repeat(32),
    "00".repeat(12),
    0,
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586",
  ],
  [
    "00".repeat(32),
    "00".repeat(12),
    1,
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f",
  ],
  [
    `00ff${"00".repeat(30)}`,
    "00".repeat(12),
    2,
    "72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096",
  ],
];

test.each(BLOCKS)("ChaCha20 of RFC 8439: key %s nonce %s block %d", (key, nonce, counter, block) => {
  expect(chachaBlock(hex(key), hex(nonce), counter)).toEqual(hex(block));
  for (const kernels of builds) {
    const at = kernels.alloc(32 + 12 + 64);
    kernels.bytes(at, 44).set([...hex(key), ...hex(nonce)]);
    kernels.exports.keystream(at, at + 32, counter, at + 44, 1);
    expect(kernels.bytes(at + 44, 64)).toEqual(hex(block));
    kernels.free(at);
  }
});

test("a keystream of several blocks counts up, and wraps", () => {
  for (const kernels of builds) {
    const at = kernels.alloc(44 + 192);
    kernels.bytes(at, 44).fill(7);
    kernels.exports.keystream(at, at + 32, 0xffffffff, at + 44, 3);
    const wanted = [0xffffffff, 0, 1].flatMap((counter) => [
      ...chachaBlock(new Uint8Array(32).fill(7), new Uint8Array(12).fill(7), counter),
    ]);
    expect([...kernels.bytes(at + 44, 192)]).toEqual(wanted);
    kernels.free(at);
  }
});

describe.each(Object.entries(FILLS))("%s vectors", (_, fill) => {
  test("cells and margins are the reference's in both builds", () => {
    const random = seeded(3);
    for (const [dim, bits] of [
      [1, 1],
      [2, 5],
      [3, 16],
      [7, 17],
      [16, 24],
      [20, 12],
      [100, 12],
      [33, 40],
      [320, 8],
    ] as const) {
      const seed = Uint8Array.from({ length: 32 }, () => random() * 256);
      const reference = hyperplanes(seed, dim, bits);
      for (const kernels of builds) {
        const planes = kernels.lshPlanes(seed, dim, bits);
        for (const n of [0, 1, 2, 3, 6, 37, 67]) {
          const x = filled(n * dim, fill, random);
          const list = Array.from({ length: n }, (_, i) => x.subarray(i * dim, (i + 1) * dim));
          const at = kernels.copyIn(x);
          const out = kernels.alloc(n * bits * 4);
          planes.marginsOf(at, n, out);
          const wanted = list.flatMap((vector) => reference.map((plane) => dot(vector, plane)));
          expect(bitsOf(kernels.f32(out, n * bits))).toEqual(bitsOf(wanted));
          if (n > 0)
            expect(bitsOf(planes.margins(list[0] as Float32Array))).toEqual(bitsOf(wanted.slice(0, bits)));
          if (bits <= 32)
            expect([...planes.cells(at, n)]).toEqual(list.map((vector) => cellOf(vector, reference)));
          kernels.free(at);
          kernels.free(out);
        }
        planes.free();
      }
    }
  });
});

test("256 planes of 512 coordinates: the bits of the reference, and another table is another draw", () => {
  const random = seeded(4);
  const seed = Uint8Array.from({ length: 32 }, () => random() * 256);
  const query = filled(512, FILLS.ordinary as () => number, random);
  const tables = [0, 1].map((table) => hyperplanes(seed, 512, 256, table).map((plane) => dot(query, plane)));
  expect(tables[0]).not.toEqual(tables[1]);
  for (const kernels of builds) {
    tables.forEach((wanted, table) => {
      const planes = kernels.lshPlanes(seed, 512, 256, table);
      expect(bitsOf(planes.margins(query))).toEqual(bitsOf(wanted));
      expect(() => planes.cells(0, 0)).toThrow('field: "bits"');
      planes.free();
    });
  }
});

test("misuse is told", () => {
  const kernels = builds[0] as Kernels;
  const seed = new Uint8Array(32);
  for (const [wrong, dim, bits] of [
    [new Uint8Array(31), 4, 4],
    [seed, 0, 4],
    [seed, 4, 0],
    [seed, 1.5, 4],
  ] as const) {
    expect(() => kernels.lshPlanes(wrong, dim, bits)).toThrow(
      expect.objectContaining({ code: "InvalidArgument" }),
    );
  }
  const planes = kernels.lshPlanes(seed, 4, 4);
  expect(() => planes.margins([1, 2, 3])).toThrow(
    expect.objectContaining({ code: "InvalidArgument", field: "query" }),
  );
  planes.free();
  planes.free();
  expect(() => planes.margins([1, 2, 3, 4])).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
});
