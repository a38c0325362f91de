import { deepStrictEqual } from "node:assert";
import { expect, test } from "@jest/globals";

interface Findings {
  failures: string[];
  totals: { passed: number; failed: number; skipped: number };
}
interface Judge {
  noFindings(): Findings;
  judgeEngine(outcome: object, recorded: object, ci: boolean, findings: Findings): void;
  judgeCoverage(outcome: object, kernels: string[], findings: Findings): void;
}
const [judgePath, assertPath] = ["../conformance/engines/judge.mjs", "../conformance/engines/assert.mjs"];
const judge: Judge = await import(judgePath);
const shim: { deepStrictEqual(found: unknown, expected: unknown): void } = await import(assertPath);

const engine = { id: "jsc", about: "", required: true, mayLackSimd: false };
const auto = "simd";
const recorded = { dot: "aa", norms: "bb" };
const good = {
  passed: { "lsh.json": 7, "time.json": 3 },
  failures: [] as string[],
  digests: recorded,
  called: ["dot"],
  stressed: ["dot"],
  seconds: 1,
};

function totalsOf(outcome: object, ci = false) {
  const findings = judge.noFindings();
  judge.judgeEngine({ engine, ...outcome }, recorded, ci, findings);
  return findings.totals;
}

test("every vector and digest of every build counts", () => {
  expect(totalsOf({ result: { auto, scalar: good, simd: good } })).toEqual({
    passed: 25,
    failed: 0,
    skipped: 0,
  });
});

test.each([
  ["a digest that differs", { digests: { ...recorded, dot: "ab" } }, 1],
  ["a digest that is lacking", { digests: { dot: "aa" } }, 1],
  ["a digest not on record", { digests: { ...recorded, scan: "cc" } }, 1],
  ["a vector that fails", { failures: ["lsh.json, simd, x"] }, 1],
  ["a build that can't be loaded", { error: "no SIMD" }, 1],
])("%s fails", (_, change, failed) => {
  expect(totalsOf({ result: { auto, scalar: good, simd: { ...good, ...change } } }).failed).toBe(failed);
});

test("a build without a result, and an engine that crashes, fail", () => {
  expect(totalsOf({ result: { auto, scalar: good } }).failed).toBe(1);
  expect(totalsOf({ error: "ended (SIGSEGV)" }).failed).toBe(1);
});

test("an engine without SIMD fails, unless it may lack it and the library does without by itself", () => {
  const result = { auto: "scalar", scalar: good, simd: { lacking: true } };
  const may = { ...engine, mayLackSimd: true };
  expect(totalsOf({ result }).failed).toBe(1);
  expect(totalsOf({ engine: may, result })).toEqual({ passed: 13, failed: 0, skipped: 0 });
  expect(totalsOf({ engine: may, result: { ...result, auto } }).failed).toBe(1);
  expect(totalsOf({ result: { auto: "scalar", scalar: good, simd: good } }).failed).toBe(1);
});

test("an engine that is not installed is skipped, and fails where CI requires it", () => {
  expect(totalsOf({ missing: "apt-get" })).toEqual({ passed: 0, failed: 0, skipped: 1 });
  expect(totalsOf({ missing: "apt-get" }, true)).toEqual({ passed: 0, failed: 1, skipped: 0 });
});

test("a kernel that ran nowhere fails", () => {
  const findings = judge.noFindings();
  judge.judgeCoverage({ result: { scalar: good } }, ["dot", "scan"], findings);
  expect(findings.totals).toEqual({ passed: 1, failed: 1, skipped: 0 });
  expect(findings.failures[0]).toContain("scan");
});

test("the equality of engines without Node is Node's", () => {
  const values = () => [
    ...[0, -0, 1, Number.NaN, 1n, 2n, "1", "", true, false, null, undefined],
    ...[[], [0], [-0], [1, 2], [2, 1], [undefined], {}, { a: 1 }, { a: 1, b: undefined }, { b: 1 }],
    ...[
      { a: { b: [1n] } },
      { a: { b: [2n] } },
      Uint8Array.of(1, 2),
      Uint8Array.of(1, 3),
      [[1], [2]],
      [[1], [3]],
    ],
  ];
  const same = (equal: (a: unknown, b: unknown) => void, a: unknown, b: unknown) => {
    try {
      equal(a, b);
      return true;
    } catch {
      return false;
    }
  };
  for (const a of values())
    for (const b of values())
      expect([a, b, same(shim.deepStrictEqual, a, b)]).toEqual([...[a, b, same(deepStrictEqual, a, b)]]);
});
