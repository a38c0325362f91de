import { expect, test } from "@jest/globals";
import { seeded } from "./reference.ts";
import { hasSimd, type Kernels, loadKernels } from "./subject.ts";

const MIB = 2 ** 20;

test("blocks start at multiples of 64, never overlap, and come back after free", async () => {
  const random = seeded(7);
  for (const mode of ["scalar", "simd"] as const) {
    const kernels = await loadKernels(mode, { maxBytes: 8 * MIB });
    const before = kernels.live();
    const held = new Map<number, { length: number; mark: number }>();
    const check = ([pointer, { length, mark }]: [number, { length: number; mark: number }]): void => {
      expect(kernels.bytes(pointer, length).every((byte) => byte === mark)).toBe(true);
      kernels.free(pointer);
      held.delete(pointer);
    };
    for (let i = 0; i < 4000; i++) {
      const length = Math.floor(random() ** 4 * 300_000);
      const pointer = held.size < 60 && random() < 0.6 ? kernels.alloc(length) : 0;
      if (pointer !== 0) {
        expect(pointer % 64).toBe(0);
        expect(held.has(pointer)).toBe(false);
        kernels.bytes(pointer, length).fill(i);
        held.set(pointer, { length, mark: i & 255 });
      } else if (held.size > 0) {
        check([...held][Math.floor(random() * held.size)] as [number, { length: number; mark: number }]);
      }
    }
    for (const entry of [...held]) check(entry);
    expect(kernels.live()).toEqual(before);
    kernels.free(kernels.alloc(7 * MIB)); // all merged into one again
  }
});

test("memory that can't grow is OutOfMemory, at every growth, and the instance works on", async () => {
  for (let limit = 1; limit <= 6; limit++) {
    const kernels = await loadKernels("auto", { maxBytes: limit * MIB });
    const blocks: number[] = [];
    const take = (): void => {
      for (;;) blocks.push(kernels.alloc(200_000));
    };
    expect(take).toThrow(
      expect.objectContaining({ name: "DreamDBError", code: "OutOfMemory", found: 200_000 }),
    );
    const room = blocks.length;
    expect(room * 200_000).toBeLessThan(limit * MIB);
    expect(room * 200_000).toBeGreaterThan((limit - 0.7) * MIB);
    blocks.forEach((pointer, i) => {
      kernels.bytes(pointer, 200_000).fill(i);
    });
    expect(kernels.checkFinite(blocks[0] as number, 50_000)).toBe(-1);
    for (const pointer of blocks.splice(0)) kernels.free(pointer);
    expect(take).toThrow(expect.objectContaining({ code: "OutOfMemory" }));
    expect(blocks.length).toBe(room);
  }
});

test("what takes several blocks gives all of them back when one is refused", async () => {
  const kernels = await loadKernels("auto", { maxBytes: 2 * MIB });
  const blocks: number[] = [];
  expect(() => {
    for (;;) blocks.push(kernels.alloc(1000));
  }).toThrow(expect.objectContaining({ code: "OutOfMemory" }));
  for (let freed = 0; freed < 24; freed++) {
    const before = kernels.live();
    for (const work of [
      () => kernels.topK(1000).free(),
      () => kernels.lshPlanes(new Uint8Array(32), 8, 60).free(),
      () => kernels.lshPlanes(new Uint8Array(32), 300, 8).free(),
      () => void kernels.sortByCell(new Uint32Array(500), 12),
    ]) {
      try {
        work();
      } catch (error) {
        expect(error).toMatchObject({ code: "OutOfMemory" });
      }
      expect(kernels.live()).toEqual(before);
    }
    kernels.free(blocks.pop() as number);
  }
});

test("sizes no memory has are refused; so is freeing what is not a live block", async () => {
  const kernels = await loadKernels("auto", { fresh: true });
  for (const bytes of [2 ** 32, -1, Number.NaN, 2 ** 32 - 1, 2 ** 32 - 64, 2 ** 32 - 65536]) {
    expect(() => kernels.alloc(bytes)).toThrow(expect.objectContaining({ code: "OutOfMemory" }));
  }
  const [a, b, c] = [kernels.alloc(100), kernels.alloc(0), kernels.alloc(100)];
  expect(new Set([a, b, c]).size).toBe(3);
  const refused = expect.objectContaining({ code: "InvalidArgument", field: "pointer" });
  for (const wrong of [0, 64, a + 64, a + 1, c + 4096, 2 ** 31])
    expect(() => kernels.free(wrong)).toThrow(refused);
  for (const pointer of [a, b, c]) {
    kernels.free(pointer);
    expect(() => kernels.free(pointer)).toThrow(refused);
  }
});

test("addresses above 2 GiB", async () => {
  const kernels = await loadKernels("auto", { fresh: true });
  const low = kernels.alloc(2 ** 31);
  const high = kernels.alloc(4096);
  expect(high).toBeGreaterThan(2 ** 31);
  kernels.f32(high, 4).set([3, 4, 0, 0]);
  expect(kernels.invNorm(high, 4)).toBe(Math.fround(1 / 5));
  const topK = kernels.topK(2);
  kernels.scanDot(high, 4, 1, high, 0, topK);
  expect(topK.drain()).toEqual({ scores: Float32Array.of(12, 9), ids: Uint32Array.of(1, 0) });
  expect(kernels.hashBytes(new Uint8Array(3))).toEqual(kernels.blake3(high + 8, 3));
  topK.free();
  kernels.free(high);
  kernels.free(low);
});

test("views stay right over growth", async () => {
  const kernels = await loadKernels("auto", { fresh: true });
  const first = kernels.copyIn(Uint32Array.of(1, 2, 3));
  kernels.alloc(64 * MIB);
  expect([...kernels.u32(first, 3)]).toEqual([1, 2, 3]);
  expect([...kernels.bytes(first, 5)]).toEqual([1, 0, 0, 0, 2]);
});

test("modes: one shared instance each, fresh ones on demand, the unknown refused", async () => {
  const [auto, simd, scalar, fresh] = (await Promise.all([
    loadKernels(),
    loadKernels("simd"),
    loadKernels("scalar"),
    loadKernels("simd", { fresh: true }),
  ])) as [Kernels, Kernels, Kernels, Kernels];
  expect(hasSimd()).toBe(true);
  expect(auto).toBe(simd);
  expect([auto, simd, scalar, fresh].map((kernels) => [kernels.mode, kernels.exports.isSimd()])).toEqual([
    ["simd", 1],
    ["simd", 1],
    ["scalar", 0],
    ["simd", 1],
  ]);
  expect(fresh).not.toBe(simd);
  await expect(loadKernels("fast" as never)).rejects.toMatchObject({
    code: "InvalidArgument",
    field: "kernels",
  });
  await expect(loadKernels("auto", { maxBytes: 1000 })).rejects.toMatchObject({
    code: "InvalidArgument",
    field: "maxBytes",
  });
});
