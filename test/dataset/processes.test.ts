// Several processes, and processes that are killed. Children run the library from one bundle, made of the source
// of this moment.
import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { refKey } from "../../src/core/ref-name.ts";
import { Dataset, directoryStore, fsck, memoryStore, Schema } from "../../src/index.node.ts";
import { scratchDirectories } from "../store/scratch.ts";
import { DiskModel, watchedIo } from "../store/watched-io.ts";
import { rowsOf } from "./records.ts";

/** How often a process is killed; more for a longer look. */
const KILLS = Number(process.env.DREAMDB_KILLS ?? 200);
/** Kills in one directory, so that looking at it stays quick. */
const KILLS_PER_DIRECTORY = 20;

const freshDirectory = scratchDirectories();
let module = "";

beforeAll(() => {
  const out = join(dirname(freshDirectory()), "dreamdb.mjs");
  const options = ["--bundle", "--platform=node", "--format=esm", "--ignore-annotations", `--outfile=${out}`];
  execFileSync("node_modules/.bin/esbuild", ["src/index.node.ts", ...options], { stdio: "pipe" });
  module = pathToFileURL(out).href;
});

test("8 processes × 50 appends to one ref: all are in, each once", async () => {
  const root = freshDirectory();
  const schema = new Schema()
    .addScalarCategorical("writer")
    .addScalarInt("n")
    .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 2 });
  await Dataset.create("main", schema, root);
  const ends = Array.from({ length: 8 }, async (_, w) => {
    const child = fork(resolve("test/fixtures/dataset-append.mjs"), [module, root, "main", `w${w}`, "50"], {
      execArgv: [],
    });
    return (await once(child, "exit"))[0];
  });
  expect(await Promise.all(ends)).toEqual(Array(8).fill(0));
  const dataset = await Dataset.open("main", root);
  const rows = await rowsOf(dataset);
  const wanted = Array.from({ length: 400 }, (_, i) => `w${i % 8} ${i >> 3}`).sort();
  expect(rows.map((row) => `${row.writer} ${row.n}`).sort()).toEqual(wanted);
  expect(new Set(rows.map((row) => row._anchor)).size).toBe(400);
  // Of one writer, later appends have later anchors.
  for (let w = 0; w < 8; w++) {
    expect(rows.filter((row) => row.writer === `w${w}`).map((row) => row.n)).toEqual(
      Array.from({ length: 50 }, (_, n) => n),
    );
  }
  const history = await dataset.history(1000);
  expect(history.map((entry) => entry.seq)).toEqual(Array.from({ length: 401 }, (_, i) => 400 - i));
  expect(
    await dataset
      .iterVector({ field: "v", query: [1, 1], topK: 1000, fields: [] })
      .then((batches) => batches.flatMap((batch) => batch._distances).length),
  ).toBe(400);
  expect(await fsck(root)).toMatchObject({ ok: true, rows: 400 });
});

/** Children that a failed test left behind would keep the runner waiting. */
const living = new Set<ChildProcess>();
afterAll(() => {
  for (const child of living) child.kill("SIGKILL");
});

/** A child that has loaded the library and waits to be told where to append. */
class Appender {
  private readonly child = spawn(
    process.execPath,
    [resolve("test/fixtures/dataset-until-killed.mjs"), module],
    { stdio: ["pipe", "pipe", "inherit"] },
  );
  private readonly lines: Interface = createInterface({ input: this.child.stdout });
  readonly acknowledged: string[] = [];
  private readonly isReady = new Promise<void>((done) => this.on("ready", done));
  private readonly isOpen = new Promise<void>((done) => this.on("open", done));

  constructor() {
    living.add(this.child);
  }

  private on(word: string, done: () => void): void {
    this.lines.on("line", (line) => {
      if (line === word) done();
      else if (word === "open" && line !== "ready") this.acknowledged.push(line);
    });
  }

  /** Lets it append until `appends` are acknowledged and `ms` more have passed, kills it, and returns what it said was in. */
  async appendFor(appends: number, ms: number, root: string, first: number): Promise<string[]> {
    await this.isReady;
    this.child.stdin.write(`${root} main ${first}\n`);
    await this.isOpen;
    while (this.acknowledged.length < appends) await once(this.lines, "line");
    await new Promise((done) => setTimeout(done, ms));
    return this.kill();
  }

  async kill(): Promise<string[]> {
    const ended = Promise.all([once(this.child, "exit"), once(this.lines, "close")]);
    this.child.kill("SIGKILL");
    await ended;
    living.delete(this.child);
    return this.acknowledged;
  }
}

const killedSchema = new Schema()
  .addScalarInt("n")
  .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 2 })
  .addImage("body");

/** Kills `kills` processes, one after the other, that append to one directory; looks at it after each. */
async function killRepeatedly(
  kills: number,
  next: () => Appender,
): Promise<{ acknowledged: number; unreported: number }> {
  const root = freshDirectory();
  await Dataset.create("main", killedSchema, root);
  const totals = { acknowledged: 0, unreported: 0 };
  let rows = 0;
  let lastAnchor = -1n;
  for (let i = 1; i <= kills; i++) {
    // From before the first append on; counted in appends, so that kills fall into work on a slow machine too.
    const said = await next().appendFor(Math.floor(4 * Math.random()), 60 * Math.random(), root, rows);
    const dataset = await Dataset.open("main", root);
    const added = await rowsOf(dataset, { range: { from: lastAnchor + 1n } });

    // Whole appends of three, at most one of which the child did not live to report.
    const unreported = added.length / 3 - said.length;
    expect([0, 1]).toContain(unreported);
    expect(added.map((row) => row.n)).toEqual(added.map((_, j) => rows + j));
    said.forEach((line, j) => {
      const three = added.slice(3 * j, 3 * j + 3);
      expect(line).toBe(`${rows + 3 * j} ${three.map((row) => row._anchor).join(" ")}`);
    });
    for (const { n, v, body } of added as { n: number; v: Float32Array; body: Uint8Array }[]) {
      expect([...v]).toEqual([n + 1, 1]);
      expect(body.length === 500 + (n % 300) && body.every((byte) => byte === (n & 255))).toBe(true);
    }
    rows += added.length;
    lastAnchor = (added.at(-1)?._anchor as bigint | undefined) ?? lastAnchor;
    expect(await dataset.count()).toBe(rows);
    if (i % 10 === 0 || i === kills) expect(await fsck(root)).toMatchObject({ ok: true, rows, problems: [] });
    totals.acknowledged += said.length;
    totals.unreported += unreported;
  }
  return totals;
}

test(`a process killed at any moment, ${KILLS} times, loses no append that it reported`, async () => {
  // Two lanes, and the next child of each loads while the one before is being looked at.
  const lanes = [0, 1].map(async (lane) => {
    let waiting = new Appender();
    const next = () => {
      const ready = waiting;
      waiting = new Appender();
      return ready;
    };
    const totals = { acknowledged: 0, unreported: 0 };
    for (let left = Math.ceil((KILLS - lane) / 2); left > 0; left -= KILLS_PER_DIRECTORY) {
      const { acknowledged, unreported } = await killRepeatedly(Math.min(left, KILLS_PER_DIRECTORY), next);
      totals.acknowledged += acknowledged;
      totals.unreported += unreported;
    }
    await waiting.kill();
    return totals;
  });
  const ends = await Promise.all(lanes);
  const acknowledged = ends.reduce((sum, end) => sum + end.acknowledged, 0);
  expect(acknowledged).toBeGreaterThan(KILLS / 2);
}, 600_000);

test("whatever a ref comes to name is durable before it: objects, then their directories, then the ref", async () => {
  const root = freshDirectory();
  const disk = new DiskModel();
  let moves = 0;
  const io = watchedIo(async (step, run) => {
    if (step.name === "link" && step.target?.includes("refs+")) {
      moves++;
      await expectDurable(disk, root, readFileSync(step.path));
    }
    const done = await run();
    disk.apply(step);
    return done;
  });
  const store = directoryStore(root, io);
  const dataset = await Dataset.create("main", killedSchema, store);
  const record = (n: number) => ({ n, v: [n, 1], body: new Uint8Array(30_000).fill(n) });
  await dataset.appendMany([1, 2, 3, 4, 5].map(record));
  for (let n = 0; n < 64; n++) await dataset.appendMany([record(n)]);
  await dataset.snapshot("v1");
  expect(moves).toBe(69);
});

/** Checks a store that has only what the disk is sure to keep, and the ref that is about to be linked. */
async function expectDurable(disk: DiskModel, root: string, ref: Uint8Array): Promise<void> {
  const sure = memoryStore();
  for (const [path, bytes] of disk.least()) {
    const key = path.slice(root.length + 1);
    if (bytes !== undefined && key.startsWith("objects/")) await sure.put(key, bytes);
  }
  await sure.put(refKey("main"), ref);
  expect(await fsck(sure)).toMatchObject({ ok: true, problems: [], refs: 1 });
}
