/** The manual page of each command, and completion in a real shell: both are made of one declaration, and agree. */
import { spawnSync } from "node:child_process";
import { chmodSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { jsonLines, type Workplace, workplaces } from "./run.ts";

const workplace = workplaces();
const MAIN = resolve("build/lib/cli/main.js");

/** Commands as the page of `dreamdb` lists them. */
function verbsOf({ run }: Workplace): string[] {
  const { stdout } = run(["--help"]);
  const list = /\nCommands:\n([\s\S]*?)\n\n/.exec(stdout)?.[1] ?? "";
  return [...list.matchAll(/^ {2}([a-z-]+)/gm)].map(([, verb]) => verb as string);
}

const optionsOf = (page: string): string[] =>
  [...(/\nOptions:\n([\s\S]*?)\n\n/.exec(page)?.[1] ?? "").matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(
    ([, name]) => name as string,
  );

test("every command has a page with a synopsis, a description, its options, examples that it takes, and exit codes", () => {
  const place = workplace();
  const verbs = verbsOf(place);
  expect(verbs.length).toBeGreaterThan(15);
  for (const verb of verbs) {
    const { status, stdout } = place.run([verb, "--help"]);
    expect({ verb, status }).toEqual({ verb, status: 0 });
    const sections = [...stdout.matchAll(/^([A-Z][a-z ]+):$/gm)].map(([, title]) => title);
    const wanted = [
      "Usage",
      "Description",
      ...(/^Arguments:$/m.test(stdout) ? ["Arguments"] : []),
      "Options",
      "Examples",
      "Exit codes",
    ];
    expect({
      verb,
      sections: sections.filter((title) => title !== "Strategies" && title !== "Sources"),
    }).toEqual({ verb, sections: wanted });
    expect(stdout).toMatch(new RegExp(`^Usage:\n  dreamdb ${verb} .*\\[options\\]\n`));
    expect(stdout).toMatch(new RegExp(`\nExamples:\n(  .*\n)*.*dreamdb ${verb}`));
    expect(stdout).toMatch(/\n {2}0 {2}done\n/);
    expect(optionsOf(stdout)).toEqual(expect.arrayContaining(["--backend", "--json", "--quiet", "--help"]));
    // Options that examples use are options that there are.
    const examples = /\nExamples:\n([\s\S]*?)\n\nExit codes/.exec(stdout)?.[1] ?? "";
    for (const line of examples.split("\n").filter((each) => each.includes(`dreamdb ${verb} `))) {
      const own = line.slice(line.indexOf(`dreamdb ${verb} `)).split(/[|;]|&&/)[0] as string;
      for (const [option] of own.matchAll(/(?<= )--[a-z-]+/g)) expect(optionsOf(stdout)).toContain(option);
    }
  }
  const writing = [
    "ingest",
    "rebuild-ivf",
    "publish-rabitq",
    "publish-pq",
    "build-graph",
    "compact",
    "delete",
    "snapshot",
    "branch",
    "merge",
    "merge-many",
    "refs",
    "schema-update",
  ];
  for (const verb of writing) expect(optionsOf(place.run([verb, "--help"]).stdout)).toContain("--dry-run");
}, 120_000);

/** Two refs, a file, and `bin/dreamdb`. */
function filled(): Workplace {
  const place = workplace();
  const shim = place.file("bin/dreamdb", `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`);
  chmodSync(shim, 0o755);
  place.file("rows.jsonl", jsonLines([{ n: 1 }, { n: 2 }]));
  expect(place.run(["ingest", "photos", "rows.jsonl"]).status).toBe(0);
  expect(place.run(["branch", "photos", "worker-0"]).status).toBe(0);
  return place;
}

describe("bash", () => {
  /** What a person gets who presses Tab after `words`, the last of which may be begun. */
  function complete({ path }: Workplace, words: readonly string[]): string[] {
    const line = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const script = `
      set -eu
      PATH="$PWD/bin:$PATH"
      source <(dreamdb completion bash)
      complete -p dreamdb | grep -q -- '-F _dreamdb dreamdb'
      COMP_WORDS=(dreamdb ${line}); COMP_CWORD=${words.length}
      set +e
      _dreamdb
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const done = spawnSync("bash", ["--norc", "-c", script], { cwd: path, encoding: "utf8" });
    expect({ status: done.status, stderr: done.stderr }).toEqual({ status: 0, stderr: "" });
    return done.stdout.split("\n").filter((word) => word !== "");
  }

  test("completes commands, options, values, names of refs and paths", () => {
    const place = filled();
    expect(complete(place, ["me"])).toEqual(["merge", "merge-many"]);
    expect(complete(place, [""]).sort()).toEqual([...verbsOf(place), "--help", "--version"].sort());
    expect(complete(place, ["compact", "--p"])).toEqual(["--purge"]);
    expect(complete(place, ["compact", ""])).toEqual(["photos", "worker-0"]);
    expect(complete(place, ["compact", "--memory-mib", "256", "ph"])).toEqual(["photos"]);
    expect(complete(place, ["compact", "--memory-mib", ""])).toEqual([]);
    expect(complete(place, ["merge", "photos", "w"])).toEqual(["worker-0"]);
    expect(complete(place, ["merge-many", "photos", "worker-0", "w"])).toEqual(["worker-0"]);
    expect(complete(place, ["merge", "photos", "worker-0", "--strategy", "ou"])).toEqual(["ours"]);
    expect(complete(place, ["ingest", "photos", "ro"])).toEqual(["rows.jsonl"]);
    expect(complete(place, ["ingest", "photos", "--schema", "ro"])).toEqual(["rows.jsonl"]);
    expect(complete(place, ["refs", "--delete", "w"])).toEqual(["worker-0"]);
    expect(complete(place, ["completion", ""])).toEqual(["bash", "zsh", "fish"]);
  }, 120_000);

  test("knows the options that the pages list, of every command", () => {
    const place = filled();
    for (const verb of verbsOf(place))
      expect({ verb, options: complete(place, [verb, "--"]).sort() }).toEqual({
        verb,
        options: optionsOf(place.run([verb, "--help"]).stdout).sort(),
      });
  }, 120_000);
});

/** What each shell offers at the end of a line, in a directory with its script in the file of this name. */
const SHELLS = {
  zsh: {
    file: "_dreamdb",
    offers(line: string, cwd: string, env: NodeJS.ProcessEnv): string[] {
      const args = ["-f", resolve("test/cli/complete.zsh")];
      const done = spawnSync("zsh", args, {
        cwd,
        env: { ...env, LINE: line },
        encoding: "utf8",
        timeout: 60_000,
      });
      const [, found] = /<<<\r?\n([\s\S]*?)>>>/.exec(done.stdout) ?? [];
      if (found === undefined) throw new Error(`zsh completed nothing: ${done.stdout}${done.stderr}`);
      return found.split(/\r?\n/);
    },
  },
  fish: {
    file: "dreamdb.fish",
    offers(line: string, cwd: string, env: NodeJS.ProcessEnv): string[] {
      const args = ["--no-config", "-c", "source dreamdb.fish; complete -C $LINE"];
      const done = spawnSync("fish", args, { cwd, env: { ...env, LINE: line }, encoding: "utf8" });
      expect({ line, status: done.status, stderr: done.stderr }).toEqual({ line, status: 0, stderr: "" });
      // With what it is, after a tab.
      return done.stdout.split("\n").map((offer) => offer.split("\t")[0] as string);
    },
  },
};

describe.each(["zsh", "fish"] as const)("%s", (shell) => {
  test("gets every command and option", () => {
    const place = workplace();
    const { status, stdout } = place.run(["completion", shell]);
    expect(status).toBe(0);
    for (const verb of verbsOf(place)) {
      expect(stdout).toContain(shell === "zsh" ? `\n    ${verb}) _arguments ` : `-a ${verb} -d `);
      for (const option of optionsOf(place.run([verb, "--help"]).stdout))
        expect(stdout).toContain(shell === "zsh" ? `'${option}[` : `${verb}' -l ${option.slice(2)} `);
    }
    expect(place.run(["completion", "tcsh"]).status).toBe(2);
  }, 120_000);

  const isMissing = spawnSync(shell, ["--version"]).error !== undefined;
  if (isMissing && !process.env.CI) {
    console.warn(`NOT COMPLETED by ${shell}, which is not installed: apt-get install -y ${shell}`);
    test.skip(`SKIPPED, ${shell} is missing (apt-get install -y ${shell}): it completes lines`, () => {});
    return;
  }
  test("completes commands, options, values, names of refs and paths", () => {
    const place = filled();
    const { file, offers } = SHELLS[shell];
    place.file(file, place.run(["completion", shell]).stdout);
    const env = { ...process.env, HOME: place.path, PATH: `${place.path}/bin:${process.env.PATH}` };
    const complete = (line: string): string[] =>
      [...new Set(offers(line, place.path, env))].filter((offer) => offer !== "").sort();
    expect(complete("dreamdb me")).toEqual(["merge", "merge-many"]);
    expect(complete("dreamdb ")).toEqual(expect.arrayContaining(verbsOf(place)));
    expect(complete("dreamdb compact --p")).toEqual(["--purge"]);
    expect(complete("dreamdb compact ")).toEqual(["photos", "worker-0"]);
    expect(complete("dreamdb compact --memory-mib 256 ph")).toEqual(["photos"]);
    expect(complete("dreamdb compact --memory-mib ")).toEqual([]);
    expect(complete("dreamdb merge photos w")).toEqual(["worker-0"]);
    expect(complete("dreamdb merge-many photos worker-0 w")).toEqual(["worker-0"]);
    expect(complete("dreamdb merge photos worker-0 --strategy ou")).toEqual(["ours"]);
    expect(complete("dreamdb ingest photos rows")).toEqual(["rows.jsonl"]);
    expect(complete("dreamdb ingest photos --schema rows")).toEqual(["rows.jsonl"]);
    expect(complete("dreamdb refs --delete w")).toEqual(["worker-0"]);
    expect(complete("dreamdb completion ")).toEqual(["bash", "fish", "zsh"]);
    for (const verb of ["ingest", "rebuild-ivf", "gc"]) {
      const options = optionsOf(place.run([verb, "--help"]).stdout).sort();
      expect({ verb, options: complete(`dreamdb ${verb} --`) }).toEqual({ verb, options });
    }
  }, 120_000);
});

test("dry runs tell, and write nothing", () => {
  const place = workplace();
  const rows = Array.from({ length: 40 }, (_, n) => ({ n, v: [1, n], g: [n, 1] }));
  const schema = JSON.stringify({
    fields: [
      { name: "n", kind: "int", required: false },
      { name: "v", kind: "embedding", dim: 2 },
      { name: "g", kind: "embedding", dim: 2, algorithm: "dreamdb.vamana-l2" },
    ],
  });
  const source = place.file("rows.jsonl", jsonLines(rows));
  const file = place.file("schema.json", schema);
  const { run } = place;
  expect(run(["ingest", "d", source, "--schema", file, "--dry-run", "--json"]).json()).toMatchObject({
    dryRun: true,
    records: 40,
    created: true,
  });
  expect(run(["refs", "--backend", "."]).stdout).toBe("no datasets yet\n");
  expect(run(["ingest", "d", source, "--schema", file]).status).toBe(0);
  const at = run(["inspect", "d", "--json"]).json().manifest;
  const bad = place.file("bad.jsonl", jsonLines([...rows, { n: "x", v: [1, 2], g: [1, 2] }]));
  expect(run(["ingest", "d", bad, "--dry-run", "--batch", "10"])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("line 41"),
  });
  expect(run(["rebuild-ivf", "d", "--field", "v", "--dry-run", "--json"]).json()).toMatchObject({
    dryRun: true,
    records: 40,
  });
  expect(run(["rebuild-ivf", "d", "--field", "g", "--dry-run"]).status).toBe(2);
  expect(run(["publish-rabitq", "d", "--field", "v", "--dry-run"]).status).toBe(0);
  expect(run(["publish-pq", "d", "--field", "v", "--subspaces", "2", "--dry-run"]).status).toBe(0);
  expect(run(["build-graph", "d", "--field", "g", "--dry-run"]).status).toBe(0);
  expect(run(["build-graph", "d", "--field", "n", "--dry-run"]).status).toBe(2);
  expect(run(["snapshot", "d", "d/1", "--dry-run"]).status).toBe(0);
  expect(run(["snapshot", "d", "d", "--dry-run"]).status).toBe(4);
  expect(run(["snapshot", "d", "../x", "--dry-run"]).status).toBe(2);
  expect(run(["branch", "d", "side", "--dry-run"]).status).toBe(0);
  expect(run(["refs", "--delete", "d", "--dry-run", "--json"]).json()).toMatchObject({
    dryRun: true,
    change: "delete",
  });
  expect(run(["refs", "--delete", "none", "--dry-run"]).status).toBe(3);
  expect(run(["compact", "d", "--purge", "--dry-run"]).status).toBe(0);
  expect(run(["inspect", "d", "--json"]).json().manifest).toBe(at);
  expect(run(["refs", "--names"]).stdout).toBe("d\n");
  run(["branch", "d", "side"]);
  run(["refs", "--delete", "side"]);
  expect(run(["branch", "d", "side", "--dry-run"]).status).toBe(4);
  run(["refs", "--protect", "d"]);
  expect(run(["refs", "--delete", "d", "--dry-run"]).status).toBe(2);
}, 120_000);

test("schema-update changes a schema that inspect prints; fsck --purged says what is left", () => {
  const place = workplace();
  const { run } = place;
  const rows = Array.from({ length: 30 }, (_, n) => ({ label: `l${n}`, n }));
  run(["ingest", "d", place.file("rows.jsonl", jsonLines(rows))]);
  const fields = run(["inspect", "d", "--json"]).json().schema;
  const wanted = (of: unknown[]) => place.file("schema.json", JSON.stringify({ fields: of }));
  const more = [...fields, { name: "score", kind: "float", required: false, index: true }];
  const dry = run(["schema-update", "d", wanted(more), "--dry-run", "--json"]);
  expect(dry.json()).toMatchObject({ dryRun: true, changes: [{ change: "added", field: "score" }] });
  expect(run(["schema-update", "d", wanted(more)])).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^score: added\nchanged 1 field → /),
  });
  expect(run(["schema-update", "d", wanted(more)]).stdout).toBe("nothing to change\n");
  expect(run(["schema-update", "d", wanted(fields)])).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("score"),
  });
  expect(
    run(["schema-update", "d", wanted([...fields, { name: "x", kind: "int" }]), "--drop", "score"]).status,
  ).toBe(2);
  expect(run(["schema-update", "d", wanted(fields), "--drop", "score"]).status).toBe(0);
  expect(run(["schema-update", "none", wanted(fields)]).status).toBe(3);

  expect(run(["fsck", "--purged"])).toMatchObject({
    status: 0,
    stdout: expect.stringContaining("purged: nothing of deleted records"),
  });
  run(["delete", "d", "--where", "label=l3"]);
  expect(run(["fsck", "--purged", "--json"])).toMatchObject({ status: 5 });
  run(["compact", "d", "--purge"]);
  const early = run(["fsck", "--purged"]);
  expect(early).toMatchObject({ status: 5, stdout: expect.stringMatching(/column +unreachable +objects\//) });
  expect(run(["fsck"]).status).toBe(0);
  expect(run(["fsck", "--purged", "--sample", "0.5"]).status).toBe(2);
}, 120_000);
