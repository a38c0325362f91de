// What the tests run on: the built page on one origin, buckets on another, a browser, and a watch on all that goes wrong.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Dataset, directoryStore } from "@dreamlake/dreamdb";
import { chromium } from "playwright-core";
import sirv from "sirv";
import { startBuckets } from "../../../test/browser/bucket.mjs";
import { contentSecurityPolicy } from "../policy.mjs";
import { prepare } from "../prepare/prepare.mjs";
import { makeGrowing, makeHostile, makeLong, makeMany, makeRecordings } from "./datasets.mjs";

const APP = fileURLToPath(new URL("../out/app/", import.meta.url));
const DEMO = fileURLToPath(new URL("../out/test-bucket/", import.meta.url));
export const SCREENS = fileURLToPath(new URL("../out/screens/", import.meta.url));
export const MANY = 5000;
/** At a phone's width higher than an element may be. */
export const LONG = 40_000;
export const SIZES = { emoji: 160, glosses: 90 };
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

/** @param {string} executablePath of Chromium */
export async function startStage(executablePath) {
  const base = mkdtempSync(join(tmpdir(), "dreamdb-browse-"));
  await prepare({ bucket: DEMO, ...SIZES });
  // Buckets of the same bytes: one is to fail at times, one to be slow.
  const folders = { demo: DEMO, failing: DEMO, slow: DEMO, kept: DEMO, denied: DEMO, ending: DEMO };
  for (const name of ["many", "long", "hostile", "recordings", "growing"]) folders[name] = join(base, name);
  await makeMany(folders.many, MANY);
  await makeLong(folders.long, LONG);
  await makeRecordings(folders.recordings);
  await makeHostile(folders.hostile);
  const append = await makeGrowing(folders.growing);
  const stores = new Map(Object.entries(folders).map(([name, folder]) => [name, directoryStore(folder)]));
  const buckets = await startBuckets((name) => stores.get(name));
  const app = await serve(contentSecurityPolicy([buckets.url, "http://127.0.0.1:9"]));
  // Its sandbox refuses to start as root.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath, args });
  return {
    app: app.url,
    append,
    faults: buckets.faults,
    requests: buckets.requests,
    /** The address of a dataset's ref. */
    ref: (bucket, name) => `${buckets.url}/${bucket}/refs/${name}`,
    /** The state that a ref points at. */
    async manifest(bucket, name) {
      const dataset = await Dataset.open(name, stores.get(bucket));
      const address = dataset.currentManifest();
      await dataset.close();
      return address;
    },
    traced: (page, work) => traced(browser, page, work),
    open: (options) => openPage(browser, app.url, buckets.url, options),
    async close() {
      await browser.close();
      app.close();
      buckets.close();
      rmSync(base, { recursive: true, force: true });
    },
  };
}

async function serve(policy) {
  const files = sirv(APP, {
    dev: true,
    setHeaders: (response) => response.setHeader("Content-Security-Policy", policy),
  });
  const server = createServer((request, response) =>
    files(request, response, () => void response.writeHead(404).end()),
  );
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A page of its own, with what it did that it must not: `page.wrongs`. */
async function openPage(browser, app, buckets, { size = DESKTOP, dark = false, url, more = {} } = {}) {
  const context = await browser.newContext({
    viewport: size,
    colorScheme: dark ? "dark" : "light",
    ...(size === PHONE ? { hasTouch: true, deviceScaleFactor: 2 } : {}),
  });
  await context.addInitScript(prepareWindow);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const wrongs = [];
  page.on("dialog", (dialog) => {
    wrongs.push(`dialog ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("pageerror", (error) => wrongs.push(`error ${error.stack}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) wrongs.push(`console ${message.text()}`);
  });
  context.on("request", (request) => {
    const own = [app, `${buckets}/`, "blob:"].some((origin) => request.url().startsWith(origin));
    if (!own) wrongs.push(`request ${request.url()}`);
  });
  const search = new URLSearchParams({ ...(url === undefined ? {} : { open: url }), ...more });
  await page.goto(`${app}${search.size > 0 ? `?${search}` : ""}`);
  return Object.assign(page, { wrongs, end: () => context.close() });
}

/** In the page, before its own scripts. */
function prepareWindow() {
  // From a copy: a canvas that is often read is drawn by other means.
  globalThis.pixelsOf = (canvas) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {
      willReadFrequently: true,
    });
    copy.drawImage(canvas, 0, 0);
    return copy.getImageData(0, 0, canvas.width, canvas.height).data;
  };
  // The library's worker, as the browser ends it when memory runs short: no more answers, and an error.
  const workers = [];
  globalThis.Worker = class extends Worker {
    constructor(url, options) {
      super(url, options);
      if (/\bworker-[^/]*\.js$/.test(new URL(url, location.href).pathname) && !/text|image/.test(url))
        workers.push(this);
    }
  };
  globalThis.endWorker = () => {
    const worker = workers.at(-1);
    worker.terminate();
    worker.dispatchEvent(new ErrorEvent("error", { message: "out of memory", cancelable: true }));
    return workers.length;
  };
  // Blob URLs that are held now, and the most at a time.
  const held = new Set();
  const { createObjectURL, revokeObjectURL } = URL;
  globalThis.blobUrls = { held, most: 0 };
  URL.createObjectURL = (blob) => {
    const url = createObjectURL.call(URL, blob);
    held.add(url);
    globalThis.blobUrls.most = Math.max(globalThis.blobUrls.most, held.size);
    return url;
  };
  URL.revokeObjectURL = (url) => {
    held.delete(url);
    revokeObjectURL.call(URL, url);
  };
}

/**
 * What axe-core finds in the page as it is, a line for each rule: for all of them, or for `rules`. `undecided`: the elements that it
 * leaves to people.
 */
export async function violations(page, rules) {
  await page.evaluate(AXE);
  const options = {
    resultTypes: ["violations", "incomplete"],
    ...(rules === undefined ? {} : { runOnly: rules }),
  };
  const { found, undecided } = await page.evaluate(async (given) => {
    const { violations, incomplete } = await globalThis.axe.run(document, given);
    return { found: violations, undecided: incomplete.map(({ id, nodes }) => [id, nodes.length]) };
  }, options);
  const lines = found.map(({ id, nodes }) => {
    const [{ target, failureSummary }] = nodes;
    return `${id}, ${nodes.length} times, such as ${target}: ${failureSummary}`;
  });
  return { lines, undecided };
}

/** Runs `work`, and tells the longest time that one task of the page's main thread was at work, in ms. */
async function traced(browser, page, work) {
  await browser.startTracing(page, { categories: ["toplevel", "disabled-by-default-devtools.timeline"] });
  const value = await work();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const threads = traceEvents
    .filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain")
    .map(({ pid, tid }) => `${pid} ${tid}`);
  const spent = traceEvents
    .filter(({ name, pid, tid }) => name.endsWith("RunTask") && threads.includes(`${pid} ${tid}`))
    .map(({ tdur = 0 }) => tdur / 1000);
  return { value, longestCpuMs: Math.max(0, ...spent) };
}
