// The suite of test/browser in real browsers, headless: each opens a page that runs it and posts what it found; no driver is
// needed, and the page has a strict Content-Security-Policy. `npm run test:browser [-- --only chromium,firefox --grep words --verbose]`; installing:
// `npm run engines -- --install --only chromium,firefox`. A browser that is missing fails in CI; elsewhere it is skipped, and said.
// Ends with "N passed, N failed[, N skipped]".

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
import { startNodeSide } from "../test/browser/node-side.mjs";
import { fromJson } from "../test/browser/text.mjs";

const BROWSERS = { chromium: chromium(), firefox: firefox({}) };
/** Folders that pages may load from, by the first part of the path. */
const FOLDERS = { lib: "build/browser", test: "test/browser" };
const NAME = /^\/(lib|test)\/([A-Za-z0-9_-]+\.m?js)$/;
const PAGE = `<!doctype html><meta charset="utf-8"><title>test</title><script type="module" src="/test/suite.mjs"></script>`;

const { values: options } = parseArgs({
  options: { only: { type: "string" }, grep: { type: "string" }, verbose: { type: "boolean" } },
});
const chosen = (options.only ?? "chromium,firefox").split(",");
const totals = { passed: 0, failed: 0, skipped: 0 };
for (const id of chosen) await runBrowser(id);
const { passed, failed, skipped } = totals;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exit(failed > 0 ? 1 : 0);

async function runBrowser(id) {
  const engine = ENGINES.find((each) => each.id === id);
  if (engine === undefined || BROWSERS[id] === undefined) {
    console.error(`no browser ${id}; there are ${Object.keys(BROWSERS).join(", ")}`);
    process.exit(2);
  }
  const located = engine.locate();
  if (located === undefined) {
    const isFailure = process.env.CI === "true";
    console.log(`${isFailure ? "FAILED" : "SKIPPED"}  ${id} is not installed: ${howToInstall(engine)}`);
    totals[isFailure ? "failed" : "skipped"]++;
    return;
  }
  const began = Date.now();
  const base = mkdtempSync(join(tmpdir(), "dreamdb-browser-"));
  const side = await startNodeSide(base);
  try {
    const results = await runPage(located.command, BROWSERS[id], side);
    for (const { name, error } of results) {
      if (error === undefined) totals.passed++;
      else totals.failed++;
      if (error !== undefined || options.verbose)
        console.log(
          `${error === undefined ? "ok    " : "FAILED"}  ${id}: ${name}${error === undefined ? "" : `\n${error}`}`,
        );
    }
    console.log(
      `${id} ${located.version}: ${results.length} tests in ${((Date.now() - began) / 1000).toFixed(1)} s`,
    );
  } catch (error) {
    totals.failed++;
    console.log(`FAILED  ${id}: ${error.message}`);
  } finally {
    side.close();
    rmSync(base, { recursive: true, force: true });
  }
}

/** The results that the page posts; those of a browser that ends before are lost, and say so. */
async function runPage(command, argsFor, side) {
  let finish;
  const finished = new Promise((resolve) => {
    finish = resolve;
  });
  const policy = [
    "default-src 'none'",
    "script-src 'self' 'wasm-unsafe-eval'",
    "worker-src 'self'",
    `connect-src 'self' blob: ${side.url} http://127.0.0.1:9`,
    "img-src blob:",
  ].join("; ");
  const server = createServer(async (request, response) => {
    const send = (status, type, body = "") =>
      response
        .writeHead(status, {
          "Content-Type": type,
          "Content-Security-Policy": policy,
          "Cache-Control": "no-store",
        })
        .end(body);
    try {
      if (request.method === "POST") {
        const parts = [];
        for await (const part of request) parts.push(part);
        const posted = fromJson(Buffer.concat(parts).toString());
        if (request.url === "/finished") finish(posted);
        const value = request.url === "/node" ? await side.verbs[posted.verb](posted.args) : undefined;
        return send(200, "application/json", JSON.stringify({ value }));
      }
      const [, folder, file] = NAME.exec(request.url) ?? [];
      if (file !== undefined)
        return send(200, "text/javascript", await readFile(join(FOLDERS[folder], file)));
      if (request.url === "/") return send(200, "text/html; charset=utf-8", PAGE);
      send(404, "text/plain");
    } catch (error) {
      send(500, "text/plain", error.stack);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/#${encodeURIComponent(options.grep ?? "")}`;
  try {
    return await withProcess(
      (folder) => [...command, ...argsFor(folder, url)],
      ({ printed, ended }) => {
        const lost = ended.then((how) => {
          throw new Error(`${how} before the page was through: ${printed().slice(-1500)}`);
        });
        return Promise.race([finished, lost]);
      },
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
}
