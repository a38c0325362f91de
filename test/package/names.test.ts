import { expect, test } from "@jest/globals";
import * as node from "../../src/index.node.ts";
import * as browser from "../../src/index.ts";

/** What users may import. A name that appears or goes is a decision: change it here too, and in the changelog. */
const NAMES = [
  "Dataset",
  "DreamDBError",
  "DreamDBSpace",
  "Media",
  "Samples",
  "Schema",
  "addressOf",
  "deleteRef",
  "diff",
  "formatTick",
  "formatUri",
  "fsck",
  "gc",
  "isAddress",
  "isDreamDBError",
  "listRefs",
  "memoryStore",
  "openStore",
  "parseTick",
  "parseUri",
  "protectRef",
  "registerBackend",
];

test("the browser's entry has these names and no others", () => {
  expect(Object.keys(browser).sort()).toEqual(NAMES);
});

test("Node's entry has directories besides, as backends and as caches", () => {
  expect(Object.keys(node).sort()).toEqual([...NAMES, "cachedInDirectory", "directoryStore"].sort());
});
