import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "@jest/globals";

/** A function that makes new empty directories, all removed after the tests of the file. */
export function scratchDirectories(): () => string {
  const base = mkdtempSync(join(tmpdir(), "dreamdb-store-"));
  let count = 0;
  afterAll(() => rmSync(base, { recursive: true, force: true }));
  return () => join(base, `s${count++}`, "root");
}
