// The package as npm packs it and as users install it.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { build } from "esbuild";

const base = mkdtempSync(join(tmpdir(), "dreamdb-package-"));
const project = join(base, "project");
let packed: string[] = [];
/** What a page may download of JavaScript to read and search, gzipped: 90 KB as it is built here, 90 KiB as bundlers cut it. */
const LIMIT_BYTES = 90_000;
const BUNDLED_LIMIT_BYTES = 90 * 1024;

/** A program that builds and searches an index, and gives its address and all hits as text. */
const SAME_INDEX = `
  import { Dataset, Schema } from "@dreamlake/dreamdb";
  async function build(backend, workers) {
    let next = 1;
    const random = (count) => Uint8Array.from({ length: count }, () => (next = (next * 48271) % 2147483647));
    const options = { workers, random, clock: () => 10n ** 18n };
    const vector = () => Float32Array.from(random(16), (byte) => byte - 128);
    const ds = await Dataset.create("x", new Schema().addEmbedding("v", { dim: 16 }), backend, options);
    await ds.appendMany(Array.from({ length: 900 }, () => ({ v: vector() })));
    const { manifest } = await ds.rebuildIvf({ field: "v", k: 20 });
    const hits = await ds.queryMany({ field: "v", queries: Array.from({ length: 20 }, vector), topK: 5 });
    // Idle workers are left as they are.
    if (backend.startsWith("memory:")) await ds.close();
    return manifest + hits.map((batch) => batch._time_anchors.join() + batch._distances.join()).join();
  }
`;

/** Runs a program and returns what it printed; what a failing one printed is in the error. */
function run(program: string, args: string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8", cwd });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

beforeAll(() => {
  if (!existsSync("build/node/index.js")) throw new Error("the package is not built: npm run build");
  const [report] = JSON.parse(
    run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", base], "."),
  );
  packed = report.files.map((file: { path: string }) => file.path);
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), '{ "name": "empty", "private": true, "type": "module" }');
  run(
    "npm",
    ["install", "--no-audit", "--no-fund", "--prefer-offline", join(base, report.filename)],
    project,
  );
}, 180_000);

afterAll(() => rmSync(base, { recursive: true, force: true }));

/** The package.json of everything that was installed. */
function manifests(): { name: string; scripts?: Record<string, string>; gypfile?: boolean }[] {
  const found = [];
  for (const entry of readdirSync(join(project, "node_modules"), { recursive: true, encoding: "utf8" })) {
    if (/(^|\/)package\.json$/.test(entry))
      found.push(JSON.parse(readFileSync(join(project, "node_modules", entry), "utf8")));
  }
  return found;
}

test("it holds the built library and its papers, and no sources or tests", () => {
  for (const path of [
    "package.json",
    "build/browser/index.js",
    "build/browser/space.js",
    "build/browser/worker.js",
    "build/lib/index.js",
    "build/lib/index.d.ts",
    "build/lib/index.node.js",
    "build/lib/workers/worker.js",
    "build/lib/workers/worker.node.js",
    "build/node/index.js",
    "build/node/worker.node.js",
    "build/vendor/wasm-simd.js",
    "build/vendor/wasm-scalar.js",
    "build/vendor/THIRD-PARTY-LICENSES.md",
    // Errors and comments name them.
    "docs/browser.md",
    "docs/search.md",
    "docs/storage.md",
  ]) {
    expect(packed).toContain(path);
  }
  expect(
    packed.filter((path) => /^(src|test|assembly|node_modules|bench|docs\/decisions)\//.test(path)),
  ).toEqual([]);
  expect(packed.filter((path) => /\.(node|gyp)$/.test(path))).toEqual([]);
});

test("optional packages are not bundled: they are loaded from where the user installs them", () => {
  const chunks = readdirSync("build/node").map((file) => readFileSync(join("build/node", file), "utf8"));
  expect(chunks.filter((chunk) => /node_modules\/(@aws-sdk|@smithy|apache-arrow)\//.test(chunk))).toEqual([]);
  expect(chunks.filter((chunk) => chunk.includes('import("@aws-sdk/client-s3")'))).toHaveLength(1);
});

test("installing it runs nothing: no install script, nothing to compile", () => {
  const installed = manifests();
  expect(installed.map((manifest) => manifest.name)).toEqual(
    expect.arrayContaining(["@dreamlake/dreamdb", "commander", "cli-progress"]),
  );
  for (const { name, scripts = {}, gypfile } of installed) {
    const hooks = ["preinstall", "install", "postinstall", "prepare"].filter((hook) => hook in scripts);
    // A `prepare` of a package from the registry does not run either; of ours there is none.
    expect({
      name,
      hooks: name === "@dreamlake/dreamdb" ? hooks : hooks.filter((hook) => hook !== "prepare"),
      gypfile: gypfile ?? false,
    }).toEqual({ name, hooks: [], gypfile: false });
  }
  const files = readdirSync(join(project, "node_modules"), { recursive: true, encoding: "utf8" });
  expect(files.filter((file) => /binding\.gyp$|\.node$/.test(file))).toEqual([]);
});

test("the reference's snippets run as they stand, over a directory", () => {
  const script = join(project, "reference.mjs");
  copyFileSync(resolve("test/fixtures/dataset-reference.mjs"), script);
  const found = JSON.parse(run(process.execPath, [script], project));
  expect(found).toEqual({
    opened: [true, ["image", "embedding", "label"]],
    appended: 2,
    replayed: "dog",
    hits: [[1, ["tabby cat"], "bigint"]],
    streamed: 2,
    label: "baseline-v1",
    manifest: expect.stringMatching(/^dyq[a-z2-7]{52}$/),
    old: 2,
    history: [
      [true, "bigint", "dreamdb-ts"],
      [false, "bigint", "dreamdb-ts"],
      [false, "bigint", "dreamdb-ts"],
    ],
    refs: ["baseline-v1", "my-dataset", "replayed"],
    count: 3,
    directory: ["objects", "refs+", "tmp"],
  });
});

test("its types resolve and check for users", () => {
  const source = `
    import { Dataset, Schema } from "@dreamlake/dreamdb";
    const schema = new Schema().addScalarInt("n").addEmbedding("v", { dim: 2 });
    const dataset = await Dataset.create("x", schema, "memory://types");
    await dataset.appendMany([{ n: 1, v: [1, 2] }]);
    for await (const batch of dataset.iterStream()) batch.n satisfies (number | bigint)[];
    // @ts-expect-error a field is missing
    await dataset.appendMany([{ n: 1 }]);
  `;
  writeFileSync(join(project, "user.ts"), source);
  const flags = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022"];
  run(process.execPath, [resolve("node_modules/typescript/bin/tsc"), ...flags, "user.ts"], project);
}, 60_000);

/** Gzipped bytes of an entry with the chunks that it imports and those of `also`, and of what may be loaded later. */
async function loadedBy(contents: string, also?: RegExp) {
  const { metafile, outputFiles } = await build({
    stdin: { contents, resolveDir: project },
    bundle: true,
    format: "esm",
    platform: "browser",
    metafile: true,
    write: false,
    minify: true,
    splitting: true,
    outdir: join(project, "split"),
    logLevel: "silent",
  });
  const names = Object.keys(metafile.outputs);
  const withImports = (name: RegExp): string[] => {
    const all = new Set(names.filter((path) => name.test(path)));
    expect(all.size).toBe(1);
    for (const each of all) {
      for (const { path, kind } of metafile.outputs[each]?.imports ?? [])
        if (kind === "import-statement") all.add(path);
    }
    return [...all];
  };
  const sum = (paths: readonly string[]): number =>
    outputFiles
      .filter(({ path }) => paths.some((each) => basename(each) === basename(path)))
      .reduce((bytes, file) => bytes + gzipSync(file.contents).length, 0);
  const first = [
    ...new Set([...withImports(/stdin\.js$/), ...(also === undefined ? [] : withImports(also))]),
  ];
  const zipped = (name: RegExp): number => sum(withImports(name).filter((path) => !first.includes(path)));
  return { entry: sum(first), zipped };
}

/** Gzipped bytes of files of build/browser, which pages load as they are, with all that they import. */
function loadedAsBuilt(entries: RegExp): number {
  const folder = join(project, "node_modules/@dreamlake/dreamdb/build/browser");
  const all = new Set(readdirSync(folder).filter((file) => entries.test(file)));
  expect(all.size).toBeGreaterThan(0);
  let bytes = 0;
  for (const file of all) {
    const text = readFileSync(join(folder, file), "utf8");
    for (const [, imported] of text.matchAll(/(?:from|import)\s*"\.\/([\w.-]+)"/g))
      all.add(imported as string);
    bytes += gzipSync(text).length;
  }
  return bytes;
}

test("a bundle for browsers needs no Node module, and works", async () => {
  const stdin = { contents: 'export * from "@dreamlake/dreamdb";', resolveDir: project };
  const options = {
    stdin,
    bundle: true,
    format: "esm",
    platform: "browser",
    metafile: true,
    write: false,
    minify: true,
  } as const;
  const result = await build({ ...options, outfile: join(project, "browser.js"), logLevel: "silent" });
  const { inputs, outputs } = result.metafile;
  const imports = Object.values(inputs).flatMap((input) => input.imports);
  expect(
    Object.keys(inputs).filter((path) =>
      /node:|@aws-sdk|\/s3(-wire)?\.js|(store|workers)\/(directory|node|worker)\./.test(path),
    ),
  ).toEqual([]);
  expect(imports.filter((one) => one.external === true || one.path.startsWith("node:"))).toEqual([]);
  expect(Object.values(outputs).flatMap((output) => output.imports)).toEqual([]);
  const [bundle] = result.outputFiles;
  const text = bundle!.text;

  // blake3-wasm, cbor-x and the loader stay with Node: see docs/decisions/0058 and 0059.
  expect(Object.keys(inputs).filter((path) => /vendor\/(blake3|cbor-x|loader)\.js$/.test(path))).toEqual([]);

  // What a page loads, where a bundler splits: all public names, one of the two builds of the compute core, and what a Space
  // of the page's own thread takes.
  const everything = await loadedBy('export * from "@dreamlake/dreamdb";', /host-\w+\.js$/);
  const core = everything.zipped(/wasm-simd-\w+\.js$/);
  const later = everything.zipped(/writing-\w+\.js$/);
  const apart = await loadedBy('export * from "@dreamlake/dreamdb/space";');
  const kib = (bytes: number): string => `${(bytes / 1024).toFixed(1)} KiB`;
  process.stdout.write(
    `in a browser: ${kib(everything.entry)} gzip of JavaScript and ${kib(core)} of WebAssembly, ${kib(later)} to write; ` +
      `${kib(apart.entry)} beside a worker\n`,
  );
  // The same of what is built for pages without a bundler.
  const asBuilt = loadedAsBuilt(/^(index|host-\w+)\.js$/);
  const inWorker = loadedAsBuilt(/^worker\.js$/);
  process.stdout.write(
    `without a bundler: ${kib(asBuilt)} gzip of JavaScript, ${kib(inWorker)} of a worker\n`,
  );
  for (const bytes of [asBuilt, inWorker]) expect(bytes).toBeLessThan(LIMIT_BYTES);
  expect(everything.entry).toBeLessThan(BUNDLED_LIMIT_BYTES);
  expect(core).toBeLessThan(40 * 1024);
  expect(later).toBeLessThan(20 * 1024);
  expect(apart.entry).toBeLessThan(20 * 1024);

  // In a realm without any of Node's globals: no process, no Buffer, no require.
  const script = join(project, "browser.mjs");
  writeFileSync(join(project, "bundle.mjs"), text);
  writeFileSync(
    script,
    `for (const name of ["process", "Buffer", "global", "setImmediate"]) delete globalThis[name];
     const { Dataset, Schema } = await import("./bundle.mjs");
     const ds = await Dataset.create("x", new Schema().addEmbedding("v", { dim: 2 }), "memory://browser");
     await ds.appendMany([{ v: [1, 2] }, { v: [2, 1] }]);
     const [batch] = await ds.iterVector({ field: "v", query: [2, 1], topK: 1 });
     const refused = await Dataset.open("x", "./directory").catch((error) => error.code);
     console.log(batch._distances[0], refused);`,
  );
  expect(run(process.execPath, [script], project).trim()).toBe("0 UnsupportedBackend");
}, 60_000);

test("a page that looks at an earlier state loads nothing of upkeep", async () => {
  await build({
    stdin: { contents: 'export * from "@dreamlake/dreamdb";', resolveDir: project },
    bundle: true,
    format: "esm",
    platform: "browser",
    splitting: true,
    outdir: join(project, "page"),
    outExtension: { ".js": ".mjs" },
    chunkNames: "[name]-[hash]",
    // Every chunk says that it was loaded.
    banner: { js: "(globalThis.loaded ??= []).push(import.meta.url);" },
    logLevel: "silent",
  });
  writeFileSync(
    join(project, "page/page.mjs"),
    `const { Dataset, DreamDBSpace, Schema } = await import("./stdin.mjs");
     const ds = await Dataset.create("x", new Schema().addScalarInt("n"), "memory://page");
     await ds.appendMany([{ n: 1 }]);
     const before = ds.currentManifest();
     await ds.appendMany([{ n: 2 }]);
     const space = await DreamDBSpace.fromUri("memory://page/refs/x");
     const past = await space.at(before);
     const names = () => loaded.map((url) => url.match(/([a-z-]+)-\\w+\\.mjs$/)?.[1]).filter((name) => name !== "chunk");
     console.log((await past.samples()).length, ...names().filter((name) => name === "pruned" || name === "seldom"));
     await ds.health();
     console.log(...names().filter((name) => name === "pruned" || name === "seldom"));`,
  );
  expect(
    run(process.execPath, [join(project, "page/page.mjs")], project)
      .trim()
      .split("\n"),
  ).toEqual(["1 pruned", "pruned seldom"]);
}, 60_000);

test("workers of the installed package build the same index, and don't keep the process alive", () => {
  const script = join(project, "workers.mjs");
  writeFileSync(
    script,
    `${SAME_INDEX}
     import { rm } from "node:fs/promises";
     const built = [];
     for (const workers of [0, 2]) {
       await rm("./built", { recursive: true, force: true });
       built.push(await build("./built", workers));
     }
     console.log(built[0] === built[1], built[1].length > 1000);`,
  );
  expect(run(process.execPath, [script], project).trim()).toBe("true true");
});

test("a worker bundled for browsers, beside the application, needs no Node module, and works", async () => {
  const stdin = { contents: `${SAME_INDEX} export { build };`, resolveDir: project };
  const options = {
    bundle: true,
    format: "esm",
    platform: "browser",
    metafile: true,
    outdir: join(project, "web"),
    outExtension: { ".js": ".mjs" },
    logLevel: "silent",
  } as const;
  const app = await build({ ...options, stdin });
  const worker = await build({
    ...options,
    entryPoints: { worker: "@dreamlake/dreamdb/worker" },
    absWorkingDir: project,
  });
  for (const { inputs } of [app.metafile, worker.metafile]) {
    const imports = Object.values(inputs).flatMap((input) => input.imports);
    expect(
      Object.keys(inputs).filter((path) => /node:|store\/(directory|node)\.|\.node\./.test(path)),
    ).toEqual([]);
    expect(imports.filter((one) => one.external === true || one.path.startsWith("node:"))).toEqual([]);
  }
  // Bundlers find the worker by this form.
  const text = readFileSync(join(project, "web/stdin.mjs"), "utf8");
  expect(text).toContain('new Worker(new URL("./worker.js", import.meta.url), { type: "module" })');

  // Web Workers as far as the library uses them, in realms without Node's globals.
  writeFileSync(
    join(project, "web/page.mjs"),
    `import { Worker as Thread } from "node:worker_threads";
     const { log } = console;
     let made = 0;
     globalThis.Worker = class {
       constructor(url, { type }) {
         made += type === "module" && url.pathname.endsWith("/worker.js") ? 1 : 100;
         this.thread = new Thread(new URL("./scope.mjs", import.meta.url));
         this.thread.on("message", (data) => this.onmessage({ data }));
         this.thread.on("error", (error) => this.onerror({ message: String(error), preventDefault() {} }));
       }
       postMessage(message, transfer) { this.thread.postMessage(message, transfer); }
       terminate() { this.thread.terminate(); }
     };
     for (const name of ["process", "Buffer", "global", "setImmediate"]) delete globalThis[name];
     const { build } = await import("./stdin.mjs");
     log((await build("memory://zero", 0)) === (await build("memory://two", 2)), made);`,
  );
  writeFileSync(
    join(project, "web/scope.mjs"),
    `import { parentPort } from "node:worker_threads";
     globalThis.postMessage = (message, transfer) => parentPort.postMessage(message, transfer);
     for (const name of ["process", "Buffer", "global", "setImmediate"]) delete globalThis[name];
     await import("./worker.mjs");
     parentPort.on("message", (data) => globalThis.onmessage({ data }));`,
  );
  expect(run(process.execPath, [join(project, "web/page.mjs")], project).trim()).toBe("true 2");
}, 60_000);

test("without the AWS SDK, signed addresses say what to install, and unsigned ones work", () => {
  const script = join(project, "signed.mjs");
  writeFileSync(
    script,
    `import { createServer } from "node:http";
     import { openStore } from "@dreamlake/dreamdb";
     const error = await openStore("s3://bucket").get("refs/main").catch((error) => error);
     console.log(error.code, error.message.includes("npm install @aws-sdk/client-s3@"));
     const server = createServer((_request, response) => response.writeHead(200, { ETag: '"1"' }).end("hello"));
     await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
     const { bytes, etag } = await openStore(\`http://127.0.0.1:\${server.address().port}/bucket\`).get("refs/main");
     console.log(Buffer.from(bytes).toString(), etag);
     server.close();
     server.closeAllConnections();`,
  );
  expect(run(process.execPath, [script], project).trim().split("\n")).toEqual([
    "UnsupportedBackend true",
    "hello 1",
  ]);
});

test("a bundle for Node still knows directories", async () => {
  const contents = `
    import { Dataset, Schema } from "@dreamlake/dreamdb";
    const ds = await Dataset.create("x", new Schema().addScalarInt("n"), "./bundled");
    await ds.appendMany([{ n: 1 }]);
    console.log(await ds.count());
  `;
  const outfile = join(project, "node-bundle.mjs");
  const options = {
    bundle: true,
    format: "esm",
    platform: "node",
    minify: true,
    logLevel: "silent",
  } as const;
  await build({ ...options, stdin: { contents, resolveDir: project }, outfile });
  expect(run(process.execPath, [outfile], project).trim()).toBe("1");
});
