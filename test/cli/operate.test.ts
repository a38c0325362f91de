/** inspect, snapshot, refs, fsck, and what every command does alike. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "@jest/globals";
import { filesBelow, jsonLines, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();
const VERSION = (JSON.parse(readFileSync("package.json", "utf8")) as { version: string }).version;

function filled(): Workplace {
  const place = workplace();
  const rows = Array.from({ length: 10 }, (_, i) => ({ label: `l${i}`, v: [1, i] }));
  expect(place.run(["ingest", "d", place.file("d.jsonl", jsonLines(rows)), "--batch", "4"]).status).toBe(0);
  return place;
}

test("inspect shows schema, counts, tracks and history", () => {
  const { run } = filled();
  const { status, stdout } = run(["inspect", "d", "--max-depth", "2"]);
  expect(status).toBe(0);
  expect(stdout).toMatch(
    /^name +d\nmanifest +[a-z2-7]+\nwritable +true\nrecords +10\n\nfield +kind +required +details\nlabel +string +yes\nv +embedding +yes +dim 2, dreamdb\.ivf-cosine\n/,
  );
  expect(stdout).toMatch(
    /\ntrack +algorithm +cells +rows in cells +not in cells +segments +imbalance +fragmentation\nv +dreamdb\.ivf-cosine +1 +0 +10 +0 +0\.00 +0\.00\n/,
  );
  expect(stdout).toMatch(
    /\nseq +op +records +time.*\n +3 +append +10 +\d{4}-\d\d-\d\dT.*Z .*\n +2 +append +8 .*\n$/,
  );
  const document = run(["inspect", "d", "--json"]).json();
  expect(document).toMatchObject({
    name: "d",
    records: 10,
    writable: true,
    tracks: [{ field: "v", dim: 2, cells: 1 }],
  });
  expect(document.schema).toHaveLength(2);
  expect(document.history.map((entry: { rows: number }) => entry.rows)).toEqual([10, 8, 4, 0]);
  expect(document.history[0]).toMatchObject({
    manifest: document.manifest,
    ts: expect.stringMatching(/^\d{19}$/),
    time: expect.stringMatching(/Z$/),
  });
});

test("inspect of a past state", () => {
  const { run } = filled();
  const { manifest } = run(["inspect", "d", "--json"]).json().history[1];
  expect(run(["inspect", "--manifest", manifest, "--json"]).json()).toMatchObject({
    name: manifest,
    records: 8,
    writable: false,
  });
  expect(run(["inspect", "--manifest", manifest, "d"])).toMatchObject({ status: 2 });
  expect(run(["inspect", "--manifest", `${manifest.slice(0, -4)}aaaa`])).toMatchObject({
    status: expect.any(Number),
    stdout: "",
  });
});

test("snapshot pins a label once; refs lists it", () => {
  const { run } = filled();
  expect(run(["refs", "--json"]).json().refs).toHaveLength(1);
  const done = run(["snapshot", "d", "d/v1"]);
  expect(done).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^d\/v1 → [a-z2-7]+ \(10 records\)\n$/),
  });
  expect(run(["snapshot", "d", "d/v1"])).toMatchObject({
    status: 4,
    stderr: expect.stringMatching(/AlreadyExists/),
  });
  expect(run(["snapshot", "d", "../x"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/InvalidName/),
  });
  expect(run(["snapshot", "none", "x"]).status).toBe(3);
  expect(run(["ingest", "d/v1", "d.jsonl"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/ReadOnly/),
  });
  const { stdout } = run(["refs"]);
  expect(stdout).toMatch(
    /^name +type +seq +manifest\nd +branch +3 +[a-z2-7]+\nd\/v1 +snapshot +3 +[a-z2-7]+\n$/,
  );
  expect(
    run(["refs", "--json"])
      .json()
      .refs.map((ref: { name: string; type: string }) => [ref.name, ref.type]),
  ).toEqual([
    ["d", "branch"],
    ["d/v1", "tag"],
  ]);
});

test("fsck of a sound store, with leftovers", () => {
  const { run, path } = filled();
  const sound = run(["fsck", "--json"]);
  expect(sound).toMatchObject({ status: 0 });
  expect(sound.json()).toMatchObject({ ok: true, refs: 1, rows: 10, unreachable: 0, problems: [] });
  // A dataset whose ref is gone leaves its objects behind.
  run(["ingest", "other", "d.jsonl"]);
  for (const file of filesBelow(join(path, "dreamdb")).filter(
    (name) => name.startsWith("refs") && name.includes("other"),
  )) {
    rmSync(join(path, "dreamdb", file));
  }
  const { status, stdout } = run(["fsck"]);
  expect({ status, stdout }).toEqual({
    status: 0,
    stdout: expect.stringMatching(
      /^checked 1 ref, \d+ objects, .*, 10 records in all\n\d+ unreachable objects: leftovers .*no fault; dreamdb gc deletes them\nno damage\n$/,
    ),
  });
});

test("fsck finds damage of every object, and says so by its exit code", () => {
  const { run, path } = filled();
  const [object] = filesBelow(join(path, "dreamdb")).filter((name) => name.startsWith("objects"));
  const target = join(path, "dreamdb", object as string);
  const bytes = readFileSync(target);
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
  writeFileSync(target, bytes);
  const flipped = run(["fsck"]);
  expect(flipped).toMatchObject({
    status: 5,
    stderr: "",
    stdout: expect.stringMatching(/problem +key\nHashMismatch +[a-z2-7]+\n(.|\n)*\n1 problem found\n$/),
  });
  rmSync(target);
  expect(run(["fsck", "--json"])).toMatchObject({ status: 5 });
  expect(run(["fsck", "--json"]).json()).toMatchObject({
    ok: false,
    problems: [{ code: "NotFound", key: expect.stringContaining("objects/") }],
  });
});

test("fsck of a share: all metadata, and the same data objects for the same seed", () => {
  const { run, path } = filled();
  const whole = run(["fsck", "--json"]).json();
  expect(whole).toMatchObject({ ok: true, dataRead: whole.data });
  const none = run(["fsck", "--sample", "0", "--json"]).json();
  expect(none).toMatchObject({ ok: true, objects: whole.objects, data: whole.data, dataRead: 0 });
  const half = ["fsck", "--sample", "0.5", "--seed", "4"];
  expect(run([...half, "--json"]).json()).toEqual(run([...half, "--json"]).json());
  expect(run(["fsck", "--sample", "0"]).stdout).toMatch(/^read whole: 0 of \d+ data objects, /m);
  for (const wrong of [
    ["--sample", "2"],
    ["--sample", "x"],
    ["--seed", "-1"],
  ])
    expect(run(["fsck", ...wrong])).toMatchObject({ status: 2 });

  // A shortened object is found by any sample.
  for (const file of filesBelow(join(path, "dreamdb")).filter((name) => name.startsWith("objects"))) {
    const target = join(path, "dreamdb", file);
    writeFileSync(target, readFileSync(target).subarray(0, -1));
  }
  expect(run(["fsck", "--sample", "0"])).toMatchObject({ status: 5 });
});

test("a store that isn't there is no empty store", () => {
  const { run } = workplace();
  for (const args of [
    ["fsck"],
    ["refs"],
    ["inspect", "d"],
    ["snapshot", "d", "x"],
    ["query", "d", "--field", "v", "--vector", "[1]"],
  ]) {
    expect(run(args)).toMatchObject({
      status: 3,
      stderr: expect.stringMatching(/no such directory.*dreamdb/),
    });
  }
});

test("an empty directory has no refs and nothing to check", () => {
  const { run } = workplace();
  expect(run(["refs", "--backend", "."])).toMatchObject({ status: 0, stdout: "no datasets yet\n" });
  expect(run(["refs", "--backend", ".", "--json"]).json()).toEqual({ refs: [] });
  expect(run(["fsck", "--backend", "."])).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/nothing to check/),
  });
});

test("the backend by path, URL and environment", () => {
  const { run, path } = filled();
  const store = join(path, "dreamdb");
  expect(run(["refs", "--backend", store]).status).toBe(0);
  expect(run(["refs", "--backend", `file://${store}`]).status).toBe(0);
  expect(run(["refs", "--backend", "."]).stdout).toBe("no datasets yet\n");
  expect(run(["refs"], { env: { DREAMDB_BACKEND: store } }).stdout).toMatch(/^name/);
  expect(run(["refs", "--backend", store], { env: { DREAMDB_BACKEND: "ftp://x" } }).status).toBe(0);
});

test("a server that isn't there, and a bucket without credentials, are unavailable", () => {
  const { run } = workplace();
  const nobody = run(["fsck", "--backend", "http://127.0.0.1:9/bucket", "--json"]);
  expect(nobody).toMatchObject({ status: 6, stderr: expect.stringContaining("StoreUnavailable") });
  const env = {
    AWS_EC2_METADATA_DISABLED: "true",
    AWS_CONFIG_FILE: "/nonexistent",
    AWS_SHARED_CREDENTIALS_FILE: "/nonexistent",
    AWS_ACCESS_KEY_ID: "",
    AWS_PROFILE: "",
  };
  // The SDK is loaded and asked, by the built package as users have it.
  expect(run(["refs", "--backend", "s3://bucket/x"], { env })).toMatchObject({
    status: 6,
    stderr: expect.stringContaining("StoreUnavailable: no AWS credentials"),
  });
});

test.each(["ftp://host/x"])("%s is not supported", (backend) => {
  const { run } = workplace();
  const done = run(["refs", "--backend", backend, "--json"]);
  expect(done).toMatchObject({
    status: 6,
    stderr: expect.stringMatching(/^dreamdb: UnsupportedBackend: .*\n$/),
  });
  expect(done.json()).toEqual({
    error: {
      code: "UnsupportedBackend",
      message: expect.any(String),
      field: "backend",
      found: backend,
      expected: expect.any(String),
      retryable: false,
    },
  });
});

test("usage errors", () => {
  const { run } = workplace();
  expect(run(["frobnicate"])).toMatchObject({
    status: 2,
    stdout: "",
    stderr: expect.stringMatching(/^dreamdb: Usage: unknown command/),
  });
  expect(run(["refs", "--frob"])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/unknown option '--frob'/),
  });
  expect(run(["refs", "extra"])).toMatchObject({ status: 2 });
  expect(run(["snapshot", "--json"]).json()).toEqual({
    error: { code: "Usage", message: expect.any(String) },
  });
  expect(run([])).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/^Usage:\n {2}dreamdb <command>/),
  });
});

test("--version and --help", () => {
  const { run } = workplace();
  expect(run(["--version"])).toEqual(expect.objectContaining({ status: 0, stdout: `${VERSION}\n` }));
  for (const name of ["ingest", "query", "inspect", "snapshot", "refs", "fsck"]) {
    expect(run([name, "--help"])).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(new RegExp(`Examples:\n  dreamdb ${name} ?[^]*Exit codes:\n  0  done`)),
    });
  }
});

test("a reader that goes away is no failure", () => {
  const { path } = filled();
  const main = resolve("build/lib/cli/main.js");
  const script = `set -o pipefail; "${process.execPath}" "${main}" inspect d --json | true`;
  const done = spawnSync("bash", ["-c", script], { cwd: path, encoding: "utf8" });
  expect({ status: done.status, stderr: done.stderr }).toEqual({ status: 0, stderr: "" });
});

test("the outcome of a commit that nobody answers for, and other failures of a backend", () => {
  const place = filled();
  const entry = resolve("build/lib/index.node.js");
  const failing = `
    import { directoryStore, DreamDBError, registerBackend } from ${JSON.stringify(entry)};
    const inner = directoryStore(${JSON.stringify(join(place.path, "dreamdb"))});
    const fail = (code, committed) => { throw new DreamDBError(code, "staged", { committed }); };
    const put = (how) => (key, bytes, condition) => {
      if (!key.startsWith("refs/")) return inner.put(key, bytes, condition);
      return how(() => inner.put(key, bytes, condition));
    };
    let lost = 0;
    const stores = {
      lost: put(() => fail("StoreUnavailable", "unknown")),
      once: put((write) => (lost++ === 0 ? fail("StoreUnavailable", "unknown") : write())),
      full: put(() => fail("StoreUnavailable", "no")),
      broken: put(() => { throw new Error("staged bug"); }),
    };
    registerBackend("staged", (address) => {
      const call = (name) => (...args) => inner[name](...args);
      return { url: address, get: call("get"), delete: call("delete"), list: call("list"), put: stores[address.slice(9)] };
    });`;
  const env = { NODE_OPTIONS: `--import=${place.file("staged.mjs", failing)}` };
  const ingest = (how: string) =>
    place.run(["ingest", "d", "d.jsonl", "--json", "--quiet", "--backend", `staged://${how}`], { env });
  const lost = ingest("lost");
  expect(lost.status).toBe(7);
  expect(lost.json().error).toMatchObject({
    code: "CommitUnknown",
    committed: "unknown",
    opId: expect.stringMatching(/^[0-9a-f]{32}$/),
    records: 0,
  });
  expect(ingest("once").json()).toMatchObject({ records: 10, total: 20 });
  expect(ingest("full").status).toBe(6);
  // The library reads the ref back after any failure, and finds the outcome open.
  expect(ingest("broken")).toMatchObject({ status: 7, stderr: expect.stringMatching(/staged bug/) });
  expect(place.run(["fsck"]).status).toBe(0);
});
