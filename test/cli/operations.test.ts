/**
 * examples/operations: manifests are what Kubernetes takes, and their command lines do what they say: each container's command runs here
 * as a process, with the environment that its manifest declares, but for where the data is.
 */
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { describe, expect, test } from "@jest/globals";
import ts from "typescript";
import { parse, parseAllDocuments } from "yaml";
import { jsonLines, type Workplace, workplaces } from "./run.ts";

const FOLDER = resolve("examples/operations");
const MAIN = resolve("build/lib/cli/main.js");
const require = createRequire(import.meta.url);
const workplace = workplaces();

interface Container {
  name: string;
  image: string;
  command: string[];
  args?: string[];
  env?: { name: string; value: string }[];
}
interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  // biome-ignore lint/suspicious/noExplicitAny: as many shapes as kinds; the schemas tell
  spec: any;
}

const files = readdirSync(join(FOLDER, "kubernetes")).filter((name) => name.endsWith(".yaml"));
const manifests = new Map<string, Manifest[]>(
  files.map((name) => {
    const documents = parseAllDocuments(readFileSync(join(FOLDER, "kubernetes", name), "utf8"));
    for (const { errors, warnings } of documents) expect([...errors, ...warnings]).toEqual([]);
    return [name, documents.map((document) => document.toJS() as Manifest)];
  }),
);

function containersOf({ kind, spec }: Manifest): Container[] {
  if (kind === "CronJob") return spec.jobTemplate.spec.template.spec.containers;
  return spec.template?.spec.containers ?? [];
}

describe("manifests", () => {
  test.each(files)(
    "%s is valid by the schemas of Kubernetes, and has no key that they do not know",
    (name) => {
      const all = manifests.get(name) as Manifest[];
      expect(all.length).toBeGreaterThan(0);
      for (const manifest of all) {
        const { apiVersion, kind } = manifest;
        const models = require(`kubernetes-models/${apiVersion}`);
        expect(() => new models[kind](manifest).validate()).not.toThrow();
        // The schemas let unknown keys pass, as the API server does; the types made from them do not.
        expect(unknownKeys(manifest)).toEqual([]);
      }
    },
    60_000,
  );

  test("the checks find a wrong type, a missing key and a mistyped one", () => {
    const [job] = manifests.get("gc.yaml") as [Manifest];
    const { CronJob } = require("kubernetes-models/batch/v1");
    const changed = (change: (copy: Manifest) => void): Manifest => {
      const copy = structuredClone(job);
      change(copy);
      return copy;
    };
    const broken = [
      changed(({ spec }) => delete spec.schedule),
      changed(({ spec }) => {
        spec.jobTemplate.spec.backoffLimit = "none";
      }),
    ];
    for (const each of broken) expect(() => new CronJob(each).validate()).toThrow();
    const mistyped = changed((copy) => {
      const [container] = containersOf(copy) as [Container & { comand?: string[] }];
      container.comand = [];
    });
    expect(unknownKeys(mistyped).join()).toContain("comand");
  }, 60_000);

  test.each(files)(
    "%s says which policy it implements, limits memory, and can't run twice at once",
    (name) => {
      expect(readFileSync(join(FOLDER, "kubernetes", name), "utf8")).toMatch(/^# Policy: /);
      for (const manifest of manifests.get(name) as Manifest[]) {
        if (manifest.kind === "CronJob") expect(manifest.spec.concurrencyPolicy).toBe("Forbid");
        for (const container of containersOf(manifest))
          expect(container).toMatchObject({ resources: { limits: { memory: expect.any(String) } } });
      }
    },
  );
});

/** What TypeScript says of a manifest written down as a literal of its interface. */
function unknownKeys(manifest: Manifest): string[] {
  const file = resolve("manifest-under-test.ts");
  const source = `import type { I${manifest.kind} } from "kubernetes-models/${manifest.apiVersion}";
    export const manifest: I${manifest.kind} = ${JSON.stringify(manifest)};`;
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.getSourceFile = (name, ...rest) =>
    name === file ? ts.createSourceFile(file, source, ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest);
  host.fileExists = (name) => name === file || fileExists(name);
  host.readFile = (name) => (name === file ? source : readFile(name));
  const program = ts.createProgram([file], options, host);
  return ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}

/** A place with `dreamdb` in the PATH, a dataset of 300 records, and shards to ingest. */
function equipped(): Workplace & { env: NodeJS.ProcessEnv } {
  const place = workplace();
  const shim = place.file("bin/dreamdb", `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
  chmodSync(shim, 0o755);
  const { NODE_OPTIONS: _, ...inherited } = process.env;
  const env = {
    ...inherited,
    PATH: `${join(place.path, "bin")}:${dirname(process.execPath)}:${process.env.PATH}`,
    DREAMDB_BACKEND: join(place.path, "store"),
    SHARDS_DIR: join(place.path, "shards"),
    PROOF: join(place.path, "proof.json"),
    LOG: join(place.path, "log"),
  };
  return { ...place, env, run: (args) => place.run(args, { env: { DREAMDB_BACKEND: env.DREAMDB_BACKEND } }) };
}

const rows = (count: number, from: number) =>
  Array.from({ length: count }, (_, i) => ({
    n: from + i,
    embedding: [Math.sin(from + i), Math.cos(3 * (from + i)), (from + i) % 7],
  }));

function ingested(): ReturnType<typeof equipped> {
  const place = equipped();
  const source = place.file("first.jsonl", jsonLines(rows(300, 0)));
  expect(place.run(["ingest", "photos", source, "--batch", "30"]).status).toBe(0);
  return place;
}

interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the first container of a manifest as a process. */
function runContainer(
  place: ReturnType<typeof equipped>,
  name: string,
  given: Record<string, string> = {},
): Promise<Outcome & { documents: () => Record<string, unknown>[] }> {
  const [manifest] = manifests.get(name) as [Manifest];
  const [{ command, args = [], env = [] }] = containersOf(manifest) as [Container];
  const declared = Object.fromEntries(env.map((each) => [each.name, each.value]));
  const [program, ...rest] = [...command, ...args] as [string, ...string[]];
  // Where the data is stands in `place`; everything else is as the manifest declares it.
  const child = spawn(program, rest, { cwd: place.path, env: { ...declared, ...place.env, ...given } });
  return new Promise((done) => {
    const out = { stdout: "", stderr: "" };
    child.stdout.on("data", (text) => {
      out.stdout += text;
    });
    child.stderr.on("data", (text) => {
      out.stderr += text;
    });
    child.on("close", (status) => done({ status, ...out, documents: () => documentsIn(out.stdout) }));
  });
}

/** JSON documents, one after the other. */
function documentsIn(text: string): Record<string, unknown>[] {
  return text
    .split(/\n(?=\{)/)
    .filter((part) => part.trim() !== "")
    .map((part) => JSON.parse(part));
}

test("all verbs that the examples call are there", () => {
  const { stdout } = equipped().run(["--help"]);
  const there = new Set([...stdout.matchAll(/^ {2}([a-z][a-z-]+)(?= )/gm)].map(([, verb]) => verb as string));
  const texts = [
    ...[...manifests.values()]
      .flat()
      .flatMap(containersOf)
      .flatMap(({ command, args = [] }) => [...command, ...args]),
    ...["crontab", "rebuild-and-verify.sh", "README.md"].map((name) =>
      readFileSync(join(FOLDER, name), "utf8"),
    ),
  ];
  const called = new Set(
    texts.flatMap((text) =>
      [...text.matchAll(/\bdreamdb ([a-z][a-z-]+)(?= )(?! in )/g)].map(([, verb]) => verb as string),
    ),
  );
  expect(called.size).toBeGreaterThan(8);
  for (const verb of called) expect({ verb, isThere: there.has(verb) }).toEqual({ verb, isThere: true });
});

describe("command lines", () => {
  test("compact.yaml compacts what is worn, once", async () => {
    const place = ingested();
    place.run(["rebuild-ivf", "photos", "--field", "embedding", "--k", "4"]);
    for (let i = 0; i < 6; i++)
      place.run(["ingest", "photos", place.file("more.jsonl", jsonLines(rows(20, 1000 + 20 * i)))]);
    const first = await runContainer(place, "compact.yaml");
    expect(first).toMatchObject({ status: 0 });
    expect(first.documents()).toMatchObject([{ name: "photos", batchesAfter: 1 }]);
    const second = await runContainer(place, "compact.yaml");
    expect(second.documents()).toEqual([{ compacted: false }]);
    expect(await runContainer(place, "compact.yaml", { DATASET: "none" })).toMatchObject({ status: 3 });
  }, 240_000);

  test("purge.yaml purges, and fails with 5 while what it purged before is still there", async () => {
    const place = ingested();
    place.run(["delete", "photos", "--where", "n=7"]);
    const first = await runContainer(place, "purge.yaml");
    expect(first).toMatchObject({ status: 0 });
    expect(first.documents()).toMatchObject([{ rowsDropped: 1 }, { problems: 0, remaining: 0 }]);
    const second = await runContainer(place, "purge.yaml");
    expect(second).toMatchObject({ status: 5 });
    expect(second.documents()[1]?.remaining).toBeGreaterThan(0);
  }, 240_000);

  test("sharded-ingest.yaml and merge-shards.yaml: four pods, of which two are killed and restarted, and one merge", async () => {
    const place = ingested();
    const [job] = manifests.get("sharded-ingest.yaml") as [Manifest];
    const shards = Array.from({ length: job.spec.completions }, (_, i) => String(i));
    for (const shard of shards)
      place.file(`shards/${shard}.jsonl`, jsonLines(rows(200, 1000 * (Number(shard) + 1))));
    const pod = (index: string, given: Record<string, string> = {}) =>
      runContainer(place, "sharded-ingest.yaml", { JOB_COMPLETION_INDEX: index, BATCH: "40", ...given });
    // A first attempt of two of them that ends in the middle, after some commits.
    for (const index of shards.slice(0, 2)) {
      const text = readFileSync(join(place.path, `shards/${index}.jsonl`), "utf8").split("\n");
      place.file(`half/${index}.jsonl`, [...text.slice(0, 100), "{ broken"].join("\n"));
      expect(await pod(index, { SHARDS_DIR: join(place.path, "half") })).toMatchObject({ status: 2 });
    }
    for (const outcome of await Promise.all(shards.map((index) => pod(index))))
      expect(outcome).toMatchObject({ status: 0 });
    // And one that was complete already.
    expect(await pod("3")).toMatchObject({ status: 0 });
    expect(place.run(["inspect", "photos", "--json"]).json().records).toBe(300);
    const merged = await runContainer(place, "merge-shards.yaml", { SHARDS: String(shards.length) });
    expect(merged).toMatchObject({ status: 0 });
    expect(merged.documents()[0]).toMatchObject({ kind: "merge", rows: 300 + 200 * shards.length });
    expect(await runContainer(place, "merge-shards.yaml")).toMatchObject({ status: 0, stdout: "" });
    const { records, history } = place.run(["inspect", "photos", "--json"]).json();
    expect(records).toBe(1100);
    expect(history[0].op).toBe("merge");
    expect(place.run(["refs", "--names"]).stdout).toBe("photos\n");
    expect(place.run(["fsck"]).status).toBe(0);
  }, 240_000);

  test("gc.yaml deletes what nothing reaches", async () => {
    const place = ingested();
    place.run(["compact", "photos"]);
    const done = await runContainer(place, "gc.yaml", { AGE: "0s" });
    expect(done).toMatchObject({ status: 0 });
    expect(place.run(["fsck", "--json"]).json()).toMatchObject({ ok: true, unreachable: 0 });
  });

  test("ada-ivf.yaml takes a step when cells are uneven", async () => {
    const place = ingested();
    place.run(["rebuild-ivf", "photos", "--field", "embedding", "--k", "4"]);
    const crowd = Array.from({ length: 400 }, (_, i) => ({ n: i, embedding: [1, 1 + i / 1e4, 1] }));
    place.run(["ingest", "photos", place.file("crowd.jsonl", jsonLines(crowd))]);
    const before = place.run(["inspect", "photos", "--json"]).json();
    expect(
      await runContainer(place, "ada-ivf.yaml", {
        MAX_IMBALANCE: "1.5",
        SPLIT_ABOVE: "100",
        MERGE_BELOW: "0",
      }),
    ).toMatchObject({ status: 0 });
    const after = place.run(["inspect", "photos", "--json"]).json();
    expect(after.manifest).not.toBe(before.manifest);
    expect(await runContainer(place, "ada-ivf.yaml", { MAX_IMBALANCE: "1000" })).toMatchObject({ status: 0 });
    expect(place.run(["inspect", "photos", "--json"]).json().manifest).toBe(after.manifest);
  });

  test("exporter.yaml serves what inspect says, in the text format of Prometheus", async () => {
    const place = ingested();
    const [deployment] = manifests.get("exporter.yaml") as [Manifest];
    const [{ command, env = [] }] = containersOf(deployment) as [Container];
    expect(command).toEqual(["node", "/opt/dreamdb/exporter.mjs"]);
    expect(readFileSync(join(FOLDER, "Dockerfile"), "utf8")).toMatch(
      /COPY .*exporter\.mjs.* \/opt\/dreamdb\/\n/,
    );
    const declared = Object.fromEntries(env.map((each) => [each.name, each.value]));
    const child = spawn(process.execPath, [join(FOLDER, "exporter.mjs")], {
      env: { ...declared, ...place.env, PORT: "0", DATASETS: "photos,none", EVERY_SECONDS: "1" },
    });
    try {
      const port = await new Promise<string>((found, failed) => {
        child.stdout.on("data", (text) => found(/listening on (\d+)/.exec(String(text))?.[1] ?? ""));
        child.on("exit", failed);
      });
      const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      const metric = (line: string) =>
        Number(
          page
            .split("\n")
            .find((each) => each.startsWith(`${line} `))
            ?.slice(line.length),
        );
      expect(metric('dreamdb_up{dataset="photos"}')).toBe(1);
      expect(metric('dreamdb_up{dataset="none"}')).toBe(0);
      expect(metric('dreamdb_records{dataset="photos"}')).toBe(300);
      expect(metric('dreamdb_sequence{dataset="photos"}')).toBe(10);
      expect(metric('dreamdb_track_unindexed_rows{dataset="photos",field="embedding"}')).toBe(300);
      expect(
        Math.abs(metric('dreamdb_written_at_seconds{dataset="photos"}') - Date.now() / 1000),
      ).toBeLessThan(600);
      for (const line of page.trim().split("\n"))
        expect(line).toMatch(
          /^(# HELP dreamdb_\w+ .+\.|# TYPE dreamdb_\w+ gauge|dreamdb_\w+\{\w+="[^"]*"(,\w+="[^"]*")*\} -?[\d.e+-]+)$/,
        );
      // Every metric that an alert is about is one that is served.
      const alerts = parse(readFileSync(join(FOLDER, "alerts.yaml"), "utf8"));
      for (const { rules } of alerts.groups)
        for (const { expr } of rules as { expr: string }[])
          for (const [name] of expr.matchAll(/dreamdb_\w+/g)) expect(page).toContain(`# TYPE ${name} gauge`);
      place.run(["ingest", "photos", place.file("late.jsonl", jsonLines(rows(5, 9000)))]);
      const until = Date.now() + 60_000;
      for (let now = ""; !now.includes('dreamdb_records{dataset="photos"} 305'); ) {
        expect(Date.now()).toBeLessThan(until);
        now = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      }
    } finally {
      child.kill();
    }
  }, 120_000);

  test("rebuild-and-verify.sh takes an index that finds enough, and no other", () => {
    const place = ingested();
    const script = join(FOLDER, "rebuild-and-verify.sh");
    const rebuild = (env: Record<string, string>, ...options: string[]) =>
      spawnSync("bash", [script, "photos", "embedding", ...options], {
        cwd: place.path,
        encoding: "utf8",
        env: { ...place.env, QUERIES: "4", ...env },
      });
    const before = place.run(["inspect", "photos", "--json"]).json();
    const refused = rebuild({ MIN_RECALL: "1.01" }, "--k", "8");
    expect(refused).toMatchObject({ status: 5 });
    expect(place.run(["inspect", "photos", "--json"]).json().manifest).toBe(before.manifest);
    const taken = rebuild({ MIN_RECALL: "0.5" }, "--k", "8");
    expect({ status: taken.status, stderr: taken.stderr }).toEqual({ status: 0, stderr: "" });
    expect(taken.stdout).toMatch(/"cells":8,"queries":4,"recall":(1|0\.\d+)}/);
    const after = place.run(["inspect", "photos", "--json"]).json();
    expect(after.tracks[0]).toMatchObject({ cells: 8, indexedRows: 300 });
    expect(place.run(["refs", "--names"]).stdout).toBe("photos\n");
  }, 240_000);

  test("crontab: every line runs", async () => {
    const place = ingested();
    place.run(["rebuild-ivf", "photos", "--field", "embedding", "--k", "4"]);
    const lines = readFileSync(join(FOLDER, "crontab"), "utf8").split("\n");
    const jobs = lines
      .filter((line) => /^[\d*]/.test(line))
      .map((line) => line.split(/\s+/).slice(5).join(" ").replaceAll("\\%", "%"));
    expect(jobs.length).toBeGreaterThan(5);
    for (const line of lines.filter((each) => each !== ""))
      expect(line).toMatch(/^(#|[A-Z_]+=|([\d*/]+\s+){5}\S)/);
    const hasFlock = spawnSync("flock", ["--version"]).error === undefined;
    if (!hasFlock) console.warn("flock is not installed: the crontab's lines are run without it");
    for (const job of jobs) {
      const command = (hasFlock ? job : job.replace(/flock -n \S+ /, "")).replaceAll(
        "/tmp/dreamdb-",
        join(place.path, "lock-"),
      );
      const done = spawnSync("/bin/sh", ["-c", command], {
        cwd: place.path,
        encoding: "utf8",
        env: place.env,
      });
      // What a line writes is what its owner is mailed: nothing, unless it failed.
      expect({ job, status: done.status, stdout: done.stdout, stderr: done.stderr }).toEqual({
        job,
        status: 0,
        stdout: "",
        stderr: "",
      });
    }
    expect(existsSync(place.env.LOG as string)).toBe(true);
    expect(place.run(["refs", "--names"]).stdout).toMatch(/^photos\nphotos\/\d{4}-\d\d\n$/);
  }, 240_000);
});
