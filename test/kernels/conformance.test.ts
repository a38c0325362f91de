import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { firstProbes } from "../../src/index/probe.ts";
import { bothBuilds } from "./reference.ts";

interface Case {
  dim: number;
  bits: number;
  seed: string;
  firstPlaneValues: string;
  lastPlaneValues: string;
  vectors: { x: string; margins: string; cell: number; probes: number[] }[];
}

const { cases } = JSON.parse(readFileSync("conformance/lsh.json", "utf8")) as { cases: Case[] };
const bytes = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, "hex"));
const floats = (hex: string): Float32Array => new Float32Array(bytes(hex).buffer as ArrayBuffer);
const hex = (values: Float32Array): string =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("hex");

test("there are cases", () => {
  expect(cases.length).toBeGreaterThan(5);
});

test.each(cases)("hyperplanes, margins, cells and probes of $dim dimensions, $bits bits", async (given) => {
  const { dim, bits } = given;
  for (const kernels of await bothBuilds()) {
    const planes = kernels.lshPlanes(bytes(given.seed), dim, bits);
    // Plane j's value k is the margin of the k-th axis: one product by 1, the others by 0.
    const values = (j: number, from: number, past: number): string =>
      hex(
        Float32Array.from({ length: past - from }, (_, i) => {
          const axis = new Float32Array(dim);
          axis[from + i] = 1;
          return planes.margins(axis)[j] as number;
        }),
      );
    expect(values(0, 0, Math.min(dim, 16))).toBe(given.firstPlaneValues);
    expect(values(bits - 1, Math.max(0, dim - 16), dim)).toBe(given.lastPlaneValues);
    for (const { x, margins, cell, probes } of given.vectors) {
      const found = planes.margins(floats(x));
      expect(hex(found)).toBe(margins);
      expect([...firstProbes(found, 10)]).toEqual(probes);
      const at = kernels.copyIn(floats(x));
      expect([...planes.cells(at, 1)]).toEqual([cell]);
      kernels.free(at);
    }
    planes.free();
  }
});
