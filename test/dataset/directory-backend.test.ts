// What only directories can do to a dataset: not be there, not be a directory, not be writable, run full.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "@jest/globals";
import { Dataset, directoryStore, fsck, Schema } from "../../src/index.node.ts";
import { directoryStore as directoryStoreOver } from "../../src/store/directory.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { type IoStep, watchedIo } from "../store/watched-io.ts";
import { rowsOf } from "./records.ts";
import { refusal } from "./stores.ts";

const freshDirectory = scratchDirectories();
const schema = new Schema().addScalarInt("n").addScalarString("text");
const record = (n: number) => ({ n, text: `text ${n}` });

test("a path, a relative path, a file URL and a store are one and the same", async () => {
  const root = freshDirectory();
  const relative = join("..", "..", "..", "..", "..", "..", "..", "..", root);
  await Dataset.create("main", schema, root);
  for (const [n, backend] of [root, relative, pathToFileURL(root).href, directoryStore(root)].entries()) {
    const dataset = await Dataset.open("main", { backend });
    await dataset.appendMany([record(n)]);
    expect(await dataset.count()).toBe(n + 1);
  }
  expect(await fsck(root)).toMatchObject({ ok: true, rows: 4 });
});

test("opening what is not there creates nothing", async () => {
  const root = freshDirectory();
  expect((await refusal(() => Dataset.open("main", root))).code).toBe("NotFound");
  expect(await fsck(root)).toMatchObject({ ok: true, refs: 0 });
  expect(existsSync(root)).toBe(false);
});

test("a file where the directory should be is left alone", async () => {
  const root = freshDirectory();
  mkdirSync(dirname(root), { recursive: true });
  writeFileSync(root, "a file of the user's");
  for (const path of [root, join(root, "below")]) {
    expect(await refusal(() => Dataset.create("main", schema, path))).toMatchObject({
      code: "StoreUnavailable",
    });
  }
  expect(readFileSync(root, "utf8")).toBe("a file of the user's");
});

const WRITES = new Set(["mkdir", "create", "write", "sync", "link", "rename"]);

function failure(errno: string): Error {
  return Object.assign(new Error(`${errno}: made by the test`), { code: errno });
}

test("a directory that can't be written says so, by the system's code", async () => {
  const root = freshDirectory();
  await (await Dataset.create("main", schema, root)).appendMany([record(1)]);
  for (const errno of ["EACCES", "EROFS", "EPERM"]) {
    const readOnly = watchedIo((step, run) =>
      step.name === "mkdir" || step.name === "create" ? Promise.reject(failure(errno)) : run(),
    );
    const dataset = await Dataset.open("main", directoryStoreOver(root, readOnly));
    expect((await rowsOf(dataset)).map((row) => row.n)).toEqual([1]);
    const createOther = () => Dataset.create("other", schema, directoryStoreOver(root, readOnly));
    for (const work of [() => dataset.appendMany([record(2)]), createOther]) {
      expect(await refusal(work)).toMatchObject({ code: "StoreUnavailable", errno, retryable: false });
    }
    // Nothing but the ref to write: the directory for it can't be made, which the store does not tell from later steps.
    expect(await refusal(() => dataset.snapshot("v1"))).toMatchObject({ errno });
  }
  const dataset = await Dataset.open("main", root);
  expect((await dataset.listRefs()).map((ref) => ref.name)).toEqual(["main"]);
  expect(await dataset.count()).toBe(1);
});

test("a disk that runs full at any file operation leaves the old state or the new one", async () => {
  const ends = { old: 0, new: 0 };
  for (let at = 0; ; at++) {
    const root = freshDirectory();
    await (await Dataset.create("main", schema, root)).appendMany([record(1)]);
    let writes = 0;
    let met: IoStep | undefined;
    const full = watchedIo((step, run) => {
      if (!WRITES.has(step.name) || writes++ < at) return run();
      met ??= step;
      return Promise.reject(failure("ENOSPC"));
    });
    const dataset = await Dataset.open("main", directoryStoreOver(root, full));
    const error = await dataset.appendMany([record(2)]).catch((caught: unknown) => caught);
    const numbers = (await rowsOf(await Dataset.open("main", root))).map((row) => row.n);
    expect((await fsck(root)).problems).toEqual([]);
    if (met === undefined) break;
    const what = `${met.name} ${at}`;
    const code = (error as { code?: string }).code;
    if (code === "StoreUnavailable") {
      expect(error).toMatchObject({ errno: "ENOSPC" });
      expect({ what, numbers }).toEqual({ what, numbers: [1] });
    } else if (code === "CommitUnknown") {
      const again = await Dataset.open("main", root);
      await again.appendMany([record(2)], { opId: (error as { opId: string }).opId });
      expect(await again.count()).toBe(2);
    } else {
      // No error: the swap was seen to be in when it was read back.
      expect({ what, error, numbers }).toMatchObject({
        what,
        error: { anchors: [expect.anything()] },
        numbers: [1, 2],
      });
    }
    ends[numbers.length === 1 ? "old" : "new"]++;
  }
  expect(ends.old).toBeGreaterThan(10);
});
