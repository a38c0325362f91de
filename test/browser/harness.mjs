// As much of a test runner as a page needs.
import { DreamDBSpace } from "/lib/index.js";
import { fromJson, toJson } from "./text.mjs";

/** Where the datasets lie: "served", directories behind a server of the test's own, or "ceph". */
export const placeKind = document.documentElement.dataset.place;

const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

/** A test that needs the faults, or the figures, of the test's own server. */
export function servedTest(name, run) {
  if (placeKind === "served") test(name, run);
}

export async function using(uri, options, work) {
  const space = await DreamDBSpace.fromUri(uri, options);
  try {
    return await work(space);
  } finally {
    await space.close();
  }
}
/** Asks Node for something: see node-side.mjs. */
export async function node(verb, args = {}) {
  const response = await fetch(`${location.origin}/node`, { method: "POST", body: toJson({ verb, args }) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${verb}: ${text}`);
  return fromJson(text).value;
}

export function equal(found, expected, what = "value") {
  const [a, b] = [toJson(found), toJson(expected)];
  if (a !== b) throw new Error(`${what}: found ${cut(a)}, expected ${cut(b)}`);
}

export function ok(condition, what) {
  if (!condition) throw new Error(what);
}

function cut(text) {
  return text === undefined || text.length < 600 ? text : `${text.slice(0, 600)}… (${text.length})`;
}

/** The error of a call that is to fail with `code`, in words that hold each of `words`. */
export async function fails(promise, code, ...words) {
  const error = await Promise.resolve(promise).then(
    () => undefined,
    (reason) => reason,
  );
  if (error === undefined) throw new Error(`no error where ${code} was expected`);
  ok(error.code === code, `${error.code ?? error.name} where ${code} was expected: ${error.message}`);
  for (const word of words) ok(error.message.includes(word), `a message without "${word}": ${error.message}`);
  return error;
}

/** Runs all tests, one after the other, each for three minutes at most, and posts what came of them. */
export async function runAll() {
  globalThis.hasBegun = true;
  const results = [];
  const wanted = decodeURIComponent(location.hash.slice(1));
  for (const { name, run } of tests.filter((each) => each.name.includes(wanted))) {
    const began = performance.now();
    const ms = () => Math.round(performance.now() - began);
    try {
      await Promise.race([
        run(),
        new Promise((_, reject) =>
          setTimeout(() => reject(new Error("it took more than three minutes")), 180_000),
        ),
      ]);
      results.push({ name, ms: ms() });
    } catch (error) {
      results.push({ name, ms: ms(), error: `${error.message}\n${error.stack ?? ""}` });
    }
  }
  await fetch(`${location.origin}/finished`, { method: "POST", body: toJson(results) });
}
