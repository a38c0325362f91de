/**
 * The compute core's cells and RaBitQ codes against conformance/codes.py, which knows spec/0004 and spec/0010 only. It
 * needs python3-numpy; without it the test fails in CI, and is skipped elsewhere under a name that says so.
 */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "@jest/globals";
import { CellAssigner } from "../src/kernels/cell-assigner.ts";
import { loadKernels } from "../src/kernels/load.ts";
import { RabitqEncoder, toIndexSpace } from "../src/kernels/rabitq.ts";
import { Rotation } from "../src/kernels/rotation.ts";
import type { Metric } from "../src/objects/metric.ts";
import { codeRowBytes, defaultRabitq } from "../src/objects/vector-compressor.ts";

interface Case {
  metric: Metric;
  exponent: number;
  dim: number;
  bits: number;
  vectors: Float32Array;
  centroids: Float32Array;
}

interface Answer {
  space: string;
  cells: number[];
  rows: string;
}

let state = 88_172_645;
function random(): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}

/** Vectors around the centroids, and odd ones: on a centroid, tiny, huge, sparse, of length zero where that may be. */
function caseOf(metric: Metric, dim: number, bits: number, exponent: number): Case {
  const scale = 2 ** exponent;
  const cells = 5;
  const centroids = Float32Array.from({ length: cells * dim }, () => (random() - 0.5) / Math.sqrt(dim));
  // Tiny vectors lie on the centroid at the origin, as good as.
  centroids.fill(0, (cells - 1) * dim);
  const rows: Float32Array[] = [];
  for (let row = 0; row < 60; row++) {
    const cell = row % cells;
    const near = (_: number, i: number): number =>
      scale * ((centroids[cell * dim + i] as number) + ((random() - 0.5) * 0.6) / Math.sqrt(dim));
    rows.push(Float32Array.from({ length: dim }, near));
  }
  rows.push(Float32Array.from({ length: dim }, (_, i) => scale * (centroids[i] as number)));
  for (const size of [1e-42, 1e-38, 1e-22, 1e-16, 1e-14, 1e-10, 10, 1e4, 1e15, 1e19, 1e25, 3e38]) {
    rows.push(Float32Array.from({ length: dim }, () => (random() - 0.5) * size));
    rows.push(Float32Array.from({ length: dim }, (_, i) => (i === dim - 1 ? size : 0)));
  }
  rows.push(Float32Array.from({ length: dim }, (_, i) => (i % 2 === 0 ? -0 : 1)).fill(1, 0, 1));
  if (metric !== "cosine") rows.push(new Float32Array(dim), new Float32Array(dim).fill(-0));
  const usable = rows.filter((row) => metric !== "cosine" || hasDirection(row));
  const vectors = new Float32Array(usable.length * dim);
  for (const [i, row] of usable.entries()) vectors.set(row, i * dim);
  return { metric, exponent, dim, bits, vectors, centroids };
}

function hasDirection(row: Float32Array): boolean {
  const squares = row.reduce((sum, x) => Math.fround(sum + Math.fround(x * x)), 0);
  return squares > 0 && squares < Infinity;
}

const hex = (view: Float32Array | Uint8Array): string =>
  Buffer.from(view.buffer, view.byteOffset, view.byteLength).toString("hex");

function answersOf(cases: readonly Case[]): Answer[] {
  const lines = cases.map((each) =>
    JSON.stringify({
      ...each,
      seed: hex(defaultRabitq(`dreamdb.rabitq-${each.metric}`, each.dim, each.bits).seed),
      vectors: hex(each.vectors),
      centroids: hex(each.centroids),
    }),
  );
  const run = spawnSync("/usr/bin/python3", ["conformance/codes.py"], {
    input: lines.join("\n"),
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  expect(run.stderr).toBe("");
  return run.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

const cases: Case[] = [];
for (const metric of ["cosine", "dot", "l2"] as const) {
  for (const [dim, bits] of [
    [1, 1],
    [2, 2],
    [4, 4],
    [15, 8],
    [16, 3],
    [17, 1],
    [100, 4],
    [100, 7],
    [128, 5],
    [129, 1],
    [130, 4],
    [200, 6],
    [256, 2],
    [300, 8],
  ] as const)
    cases.push(caseOf(metric, dim, bits, metric === "cosine" ? 0 : [0, 3, -5][dim % 3]!));
}

const hasNumpy = spawnSync("/usr/bin/python3", ["-c", "import numpy"]).status === 0;
const install = "apt-get install -y --no-install-recommends python3-numpy";
if (!hasNumpy && !process.env.CI) {
  test.skip(`SKIPPED, python3-numpy missing (${install}): cells and codes are those of the specification`, () => {});
} else {
  describe.each(["simd", "scalar"] as const)("by %s", (build) => {
    test("vectors in index space, cells and codes are those of the specification, bit for bit", async () => {
      const kernels = await loadKernels(build);
      const answers = answersOf(cases);
      expect(answers.length).toBe(cases.length);
      for (const [i, { metric, exponent, dim, bits, vectors, centroids }] of cases.entries()) {
        const what = `${metric} ${dim} × ${bits} bits`;
        const answer = answers[i] as Answer;
        const n = vectors.length / dim;
        const compressor = defaultRabitq(`dreamdb.rabitq-${metric}`, dim, bits);
        const rowBytes = codeRowBytes(compressor);
        const { padded, rotation: kind, seed } = compressor;
        const rotation = new Rotation(kernels, { kind, dim, padded, seed });
        const assigner = new CellAssigner(kernels, centroids, dim);
        const encoder = new RabitqEncoder(kernels, { rotation, centroids, bits, metric });
        const [x, y, cells, out] = [n * dim * 4, n * dim * 4, n * 4, n * rowBytes].map((size) =>
          kernels.alloc(size),
        ) as [number, number, number, number];
        kernels.f32(x, n * dim).set(vectors);
        toIndexSpace(kernels, metric, exponent, x, n, dim, y);
        expect([what, hex(kernels.f32(y, n * dim))]).toEqual([what, answer.space]);
        assigner.assign(y, n, cells);
        expect([what, [...kernels.u32(cells, n)]]).toEqual([what, answer.cells]);
        encoder.encode(y, n, cells, out);
        const rows = hex(kernels.bytes(out, n * rowBytes));
        for (let row = 0; row < n; row++) {
          const [from, to] = [2 * row * rowBytes, 2 * (row + 1) * rowBytes];
          const at = `${what}, row ${row}`;
          expect([at, rows.slice(from, to)]).toEqual([at, answer.rows.slice(from, to)]);
        }
        for (const pointer of [x, y, cells, out]) kernels.free(pointer);
        for (const owner of [encoder, assigner, rotation]) owner.free();
      }
    }, 120_000);
  });
}
