// The whole application on this machine: makes the bucket, builds the page and serves both, each on an origin of its own.
// `npm run demo` in the root of the repository builds the library and runs this.
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import sirv from "sirv";
import { build } from "vite";
import { contentSecurityPolicy } from "../policy.mjs";
import { writeModels } from "../prepare/models.mjs";
import { count, DATA_OPTIONS, dataOptions, prepare } from "../prepare/prepare.mjs";
import { step } from "../prepare/progress.mjs";
import { bucketHandler } from "./bucket.mjs";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const APP = fileURLToPath(new URL("../out/app/", import.meta.url));
const BUCKET = "demo";
const DEFAULT_PORT = 8140;

const HELP = `Browse a dataset: makes a bucket with emoji and the glosses of WordNet, and opens a page that searches it.

  --port N        of the page; the bucket has the next one. Default ${DEFAULT_PORT}; 0: any two that are free
  --no-open       only print the address, start no browser
  --small         200 emoji and 300 glosses, made in seconds
  --emoji N       so many emoji, at most 1911, the default
  --glosses N     so many glosses, the most used first; default 8000, at most 117791
  --connect URL   an origin that the page may connect to besides, to open other buckets; may be repeated
  --bucket DIR    where the bucket lies; default examples/browse/out/bucket
  --help          prints this

The first run downloads the example's packages (150 MB) and computes for some minutes; later ones build the page and start, in seconds.
`;

async function main() {
  const { values } = parseArgs({
    options: {
      ...DATA_OPTIONS,
      port: { type: "string" },
      "no-open": { type: "boolean" },
      connect: { type: "string", multiple: true },
      help: { type: "boolean" },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  const port = values.port === "0" ? 0 : count("port", values.port ?? DEFAULT_PORT, 65_534);

  const others = (values.connect ?? []).map(originOf);

  console.log("Data");
  const directory = await prepare(dataOptions(values));
  await writeModels();
  const building = step("Build the page");
  await build({ root: ROOT, logLevel: "error" });
  building.done();

  const bucket = await serve(bucketHandler(directory, BUCKET), port && port + 1);
  const page = await serve(pageHandler([bucket, ...others]), port);
  const address = (name) => `${page}/?open=${encodeURIComponent(`${bucket}/${BUCKET}/refs/${name}`)}`;
  console.log(`\nPage\n  ${address("emoji")}\n  ${address("glosses")}\nBucket\n  ${bucket}/${BUCKET}\n`);
  console.log("Control-C ends it.");
  if (process.stdout.isTTY && !values["no-open"]) openBrowser(address("emoji"));
}

/** @throws what is no URL, or none that a page can connect to */
function originOf(text) {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && /^https?:$/.test(url.protocol)) return url.origin;
  throw new Error(`--connect ${text}: expected an address such as https://data.example.org`);
}

/** The page's files, under a policy that lets it connect to these origins and to no others. */
function pageHandler(buckets) {
  const headers = {
    "Content-Security-Policy": `${contentSecurityPolicy(buckets)}; frame-ancestors 'none'`,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
  };
  const files = sirv(APP, {
    etag: true,
    setHeaders(response) {
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    },
  });
  return (request, response) =>
    files(request, response, () =>
      response.writeHead(404, { "Content-Type": "text/plain" }).end("Not found"),
    );
}

/** @returns {Promise<string>} the origin */
function serve(handler, port) {
  const server = createServer(handler);
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        error.code === "EADDRINUSE"
          ? new Error(`port ${port} is taken: name another with --port, or --port 0 for any that is free`)
          : error,
      ),
    );
    server.listen(port, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

/** Shows the page in the browser that is set as default. Without one, as on a server, the printed address has to do. */
function openBrowser(url) {
  const [command, ...args] =
    process.platform === "darwin"
      ? ["open", url]
      : process.platform === "win32"
        ? ["explorer.exe", url]
        : ["xdg-open", url];
  spawn(command, args, { stdio: "ignore", detached: true })
    .on("error", () => {})
    .unref();
}

try {
  await main();
} catch (error) {
  console.error(`\n${error.message}`);
  process.exit(1);
}
