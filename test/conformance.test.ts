import { readdirSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "@jest/globals";
import { useBulkHasher } from "../src/core/blake3.ts";
import type { Kernels } from "../src/kernels/kernels.ts";
import { loadKernels } from "../src/kernels/load.ts";

interface Check {
  name: string;
  run(): void | Promise<void>;
}
const path = "../conformance/checks.mjs";
const {
  checksOf,
  MODULES,
}: {
  checksOf(file: string, vectors: unknown, lib: object, kernels: Kernels): Check[];
  MODULES: string[];
} = await import(path);

const directory = new URL("../conformance/", import.meta.url);
const files = readdirSync(directory).filter((name) => name.endsWith(".json") && name !== "http.json");
const builds = (["scalar", "simd"] as const).flatMap((mode) => files.map((file) => ({ file, mode })));

let lib: object;
beforeAll(async () => {
  // One after the other: jest's loader loses its way when modules that share a dependency are linked side by side.
  const modules: object[] = [];
  for (const module of MODULES) modules.push(await import(`../src/${module}.ts`));
  lib = Object.assign({}, ...modules);
});

test("all files are here", () => {
  expect(files.sort()).toEqual([
    "address.json",
    "blake3.json",
    "cbor.json",
    "chacha20.json",
    "indexes.json",
    "kmeans.json",
    "lsh.json",
    "merge.json",
    "pq.json",
    "rabitq.json",
    "rotation.json",
    "time.json",
    "vamana.json",
  ]);
});

// The runner does the same on the built package; here the sources are held to it.
describe.each(builds)("$file with the $mode core", ({ file, mode }) => {
  test("every vector holds", async () => {
    const kernels = await loadKernels(mode, { fresh: true });
    useBulkHasher((bytes) => kernels.hashBytes(bytes));
    const checks = checksOf(file, JSON.parse(readFileSync(new URL(file, directory), "utf8")), lib, kernels);
    expect(checks.length).toBeGreaterThan(5);
    const failed: string[] = [];
    for (const { name, run } of checks) {
      try {
        await run();
      } catch (error) {
        failed.push(`${name}: ${String(error)}`);
      }
    }
    expect(failed).toEqual([]);
    expect(kernels.live().blocks).toBe(1);
  });
});
