// The suite of test/browser in real browsers, headless: each opens a page that runs it and posts what it found; no driver is
// needed, and the page has a strict Content-Security-Policy. `npm run test:browser [-- --ceph --only chromium,firefox --grep words --verbose]`;
// installing: `npm run engines -- --install --only chromium,firefox`. Datasets lie in directories behind a server of its own, or with --ceph
// in buckets of the gateway that AWS_* name, else of one that it starts. A browser or a gateway that is missing fails in CI; elsewhere it
// is skipped, and said. Ends with "N passed, N failed[, N skipped]".

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ENGINES } from "../conformance/engines/engines.mjs";
import { howToInstall } from "../conformance/engines/install.mjs";
import { chromium, firefox } from "../conformance/engines/page.mjs";
import { withProcess } from "../conformance/engines/process.mjs";
import { FLAGS, openFirefoxConsole, PREFERENCES } from "../test/browser/firefox-console.mjs";
import { startNodeSide } from "../test/browser/node-side.mjs";
import { cephPlace, servedPlace } from "../test/browser/places.mjs";
import { fromJson, toJson } from "../test/browser/text.mjs";

const GATEWAY = "scripts/rgw.sh";
const CHROMIUM = chromium();
const FIREFOX = firefox(PREFERENCES);
/**
 * For each its arguments, what of its output its console says (in Chromium all, of workers too; in Firefox what scripts say), and
 * where the rest is read.
 */
const BROWSERS = {
  chromium: {
    argsFor: (folder, url) => ["--enable-logging=stderr", ...CHROMIUM(folder, url)],
    consoleLine: /:(?:INFO|WARNING|ERROR):CONSOLE[:(]/,
  },
  firefox: {
    argsFor: (folder, url) => [...FLAGS, ...FIREFOX(folder, url)],
    consoleLine: /^console\.\w+: /,
    openConsole: openFirefoxConsole,
  },
};
/** The pages that are opened, by the module that they run, with headers of their own: as most are, and cross-origin isolated. */
const PAGES = {
  suite: {},
  isolated: {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
  },
};
/** Folders that pages may load from, by the first part of the path. */
const FOLDERS = { lib: "build/browser", test: "test/browser" };
const NAME = /^\/(lib|test)\/([A-Za-z0-9_-]+\.m?js)$/;

const { values: options } = parseArgs({
  options: {
    ceph: { type: "boolean" },
    only: { type: "string" },
    grep: { type: "string" },
    verbose: { type: "boolean" },
  },
});
const totals = { passed: 0, failed: 0, skipped: 0 };
const base = mkdtempSync(join(tmpdir(), "dreamdb-browser-"));
let isGatewayOurs = false;
try {
  if (options.ceph !== true || gatewayIsThere()) {
    const place = await (options.ceph ? cephPlace() : servedPlace(base));
    const verbs = startNodeSide(place);
    for (const id of (options.only ?? "chromium,firefox").split(",")) await runBrowser(id, place, verbs);
    await place.close();
  }
} finally {
  rmSync(base, { recursive: true, force: true });
  if (isGatewayOurs) spawnSync("bash", [GATEWAY, "stop"], { stdio: "inherit" });
}
const { passed, failed, skipped } = totals;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed > 0 ? 1 : 0);

/** Whether AWS_* name a gateway, after starting one if they don't. */
function gatewayIsThere() {
  if (process.env.AWS_ENDPOINT_URL !== undefined) return true;
  isGatewayOurs = spawnSync("bash", [GATEWAY, "status"]).status !== 0;
  const { status } = spawnSync("bash", [GATEWAY, "start"], { stdio: "inherit" });
  if (status !== 0) {
    missing("Ceph does not start", `${GATEWAY} install brings the packages`);
    return false;
  }
  const { stdout } = spawnSync("bash", [GATEWAY, "env"], { encoding: "utf8" });
  for (const pair of stdout.trim().split(/\s+/).slice(1)) {
    const [name, value] = pair.split(/=(.*)/);
    process.env[name] = value;
  }
  return true;
}

/** A failure in CI; elsewhere skipped, and said. */
function missing(what, remedy) {
  const isFailure = process.env.CI === "true";
  console.log(`${isFailure ? "FAILED" : "SKIPPED"}  ${what}: ${remedy}`);
  totals[isFailure ? "failed" : "skipped"]++;
}

async function runBrowser(id, place, verbs) {
  const engine = ENGINES.find((each) => each.id === id);
  if (engine === undefined || BROWSERS[id] === undefined) {
    console.error(`no browser ${id}; there are ${Object.keys(BROWSERS).join(", ")}`);
    process.exit(2);
  }
  const located = engine.locate();
  if (located === undefined) return missing(`${id} is not installed`, howToInstall(engine));
  const began = Date.now();
  const foreign = await startForeign();
  try {
    const results = [];
    for (const page of Object.keys(PAGES))
      results.push(...(await runPage(located.command, id, page, place, { ...verbs, ...foreign.verbs })));
    if (results.length === 0) throw new Error(`no test has "${options.grep}" in its name`);
    for (const { name, ms, error } of results) {
      totals[error === undefined ? "passed" : "failed"]++;
      const said = error === undefined ? `ok      ${id}: ${name}` : `FAILED  ${id}: ${name}\n${error}`;
      if (error !== undefined || options.verbose) console.log(`${said} (${ms} ms)`);
    }
    const seconds = ((Date.now() - began) / 1000).toFixed(1);
    console.log(`${id} ${located.version}, ${place.kind}: ${results.length} tests in ${seconds} s`);
  } catch (error) {
    totals.failed++;
    console.log(`FAILED  ${id}: ${error.message}`);
  } finally {
    foreign.close();
  }
}

/** An origin that no page may ask for anything; it notes who does. */
async function startForeign() {
  const requests = [];
  const server = createServer(({ method, url }, response) => {
    requests.push(`${method} ${url}`);
    response.writeHead(200, { "Access-Control-Allow-Origin": "*" }).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${server.address().port}`;
  const verbs = { foreignOrigin: () => origin, foreignRequests: () => requests.splice(0) };
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { verbs, close };
}

/** The results that the page posts; those of a browser that ends before are lost, and say so. */
async function runPage(command, id, page, place, verbs) {
  const { argsFor, consoleLine, openConsole } = BROWSERS[id];
  let finish;
  let printed = () => "";
  let marked = 0;
  let profile;
  let ownConsole;
  /** What the browser's console has said since it was asked for it last. */
  const consoleLines = async () => {
    ownConsole ??= await openConsole?.(profile);
    const read = (await ownConsole?.take()) ?? [];
    const lines = printed()
      .split("\n")
      .filter((line) => consoleLine.test(line));
    const later = lines.slice(marked);
    marked = lines.length;
    return [...later, ...read];
  };
  const finished = new Promise((resolve) => {
    finish = resolve;
  });
  const policy = [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    `connect-src 'self' blob: ${place.origin} http://127.0.0.1:9`,
    "img-src blob:",
    "media-src blob:",
  ].join("; ");
  const server = createServer(async (request, response) => {
    const send = (status, type, body = "") =>
      response
        .writeHead(status, {
          "Content-Type": type,
          "Content-Security-Policy": policy,
          "Cache-Control": "no-store",
          ...PAGES[page],
        })
        .end(body);
    try {
      if (request.method === "POST") {
        const parts = [];
        for await (const part of request) parts.push(part);
        const posted = fromJson(Buffer.concat(parts).toString());
        if (request.url === "/finished") finish(posted);
        const all = { ...verbs, console: consoleLines };
        const value = request.url === "/node" ? await all[posted.verb](posted.args) : undefined;
        return send(200, "application/json", toJson({ value }));
      }
      const [, folder, file] = NAME.exec(request.url) ?? [];
      if (file !== undefined)
        return send(200, "text/javascript", await readFile(join(FOLDERS[folder], file)));
      if (request.url === "/") return send(200, "text/html; charset=utf-8", pageOf(page, place.kind));
      send(404, "text/plain");
    } catch (error) {
      send(500, "text/plain", error.stack);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/#${encodeURIComponent(options.grep ?? "")}`;
  try {
    return await withProcess(
      (folder) => {
        profile = folder;
        return [...command, ...argsFor(folder, url)];
      },
      ({ printed: output, ended }) => {
        printed = output;
        const lost = ended.then((how) => {
          throw new Error(`${how} before the page was through: ${output().slice(-1500)}`);
        });
        return Promise.race([finished, lost]);
      },
    );
  } finally {
    ownConsole?.close();
    server.closeAllConnections();
    server.close();
  }
}

function pageOf(page, kind) {
  const scripts = ["alarm", page].map((name) => `<script type="module" src="/test/${name}.mjs"></script>`);
  return `<!doctype html><html data-place="${kind}"><meta charset="utf-8"><title>test</title><body>${scripts.join("")}`;
}
