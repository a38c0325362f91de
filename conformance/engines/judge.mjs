// What a run of the matrix shows: every engine and build must pass every vector and give the recorded digests. A build
// counts one check for each vector and one for each recipe of stress.mjs.
import { createHash } from "node:crypto";

/** Nothing found yet: rows of the table, what failed, what is worth a word, and the counts. */
export function noFindings() {
  return { rows: [], failures: [], notes: [], totals: { passed: 0, failed: 0, skipped: 0 } };
}

/**
 * Adds what one engine gave: an outcome is { engine, version?, result? | error? | missing? }.
 * @param recorded recipe → digest, as in digests.json
 * @param ci whether engines that are required must be there
 */
export function judgeEngine({ engine, version, result, error, missing }, recorded, ci, findings) {
  if (missing !== undefined) return judgeMissing(engine, missing, ci, findings);
  if (error !== undefined) return fail(findings, `${engine.id}: ${error}`);
  for (const build of ["scalar", "simd"]) {
    const of = result[build] ?? { error: "no result" };
    const row = { engine: engine.id, version, build };
    if (of.error !== undefined) fail(findings, `${engine.id}, ${build}: ${of.error}`);
    else if (of.lacking) judgeLacking(engine, row, findings);
    else judgeBuild(row, of, recorded, findings);
  }
  const expected = result.simd?.lacking ? "scalar" : "simd";
  if (result.auto === expected) findings.totals.passed++;
  else fail(findings, `${engine.id}: the library chose ${result.auto} by itself, not ${expected}`);
}

/**
 * Adds whether every kernel ran somewhere, by the outcome of one engine: one that runs in neither vectors nor stress
 * fails; one in vectors alone is worth a word.
 */
export function judgeCoverage({ result }, kernelNames, findings) {
  const { called, stressed } = result.scalar;
  for (const name of kernelNames) {
    if (called.includes(name)) findings.totals.passed++;
    else
      fail(
        findings,
        `the kernel ${name} runs in no vector and in no recipe of conformance/engines/stress.mjs`,
      );
  }
  const unstressed = kernelNames.filter((name) => called.includes(name) && !stressed.includes(name));
  if (unstressed.length > 0)
    findings.notes.push(`in vectors, but not under stress: ${unstressed.join(", ")}`);
}

export function fail(findings, text) {
  findings.totals.failed++;
  findings.failures.push(text);
}

function judgeMissing({ id, about, required }, missing, ci, findings) {
  const text = `${id} (${about}) is NOT INSTALLED; to install it: ${missing}`;
  if (ci && required) return fail(findings, `${text}; CI requires it`);
  findings.totals.skipped++;
  findings.notes.push(text);
}

function judgeLacking({ id, mayLackSimd }, row, findings) {
  if (!mayLackSimd) return fail(findings, `${id}: the library finds no SIMD that works`);
  findings.rows.push({ ...row, verdict: "no SIMD" });
}

function judgeBuild(row, { passed, failures, digests, seconds }, recorded, findings) {
  const vectors = Object.values(passed).reduce((sum, count) => sum + count, 0);
  const recipes = [...new Set([...Object.keys(recorded), ...Object.keys(digests)])];
  const differing = recipes.filter((recipe) => digests[recipe] !== recorded[recipe]);
  const unrecorded = differing.filter((recipe) => recorded[recipe] === undefined);
  findings.totals.passed += vectors + recipes.length - differing.length;
  for (const text of failures) fail(findings, `${row.engine}, ${text}`);
  for (const recipe of differing.filter((name) => recorded[name] !== undefined))
    fail(findings, `${row.engine}, ${row.build}, ${recipe}: ${digests[recipe]}, not ${recorded[recipe]}`);
  if (unrecorded.length > 0) {
    const names = unrecorded.join("; ");
    fail(findings, `${row.engine}, ${row.build}: not on record (npm run engines -- --record): ${names}`);
  }
  const verdict = failures.length + differing.length === 0 ? "ok" : "DIFFERENT";
  const total = vectors + failures.length;
  findings.rows.push({ ...row, vectors, total, digest: digestOfAll(digests), verdict, seconds });
}

/** One short digest of all, for people to compare. */
function digestOfAll(digests) {
  return createHash("sha256").update(JSON.stringify(digests)).digest("hex").slice(0, 16);
}
