// Runs a script in a browser: a page on the loopback address loads it, and it posts its result back. That needs no
// driver and is the same for every browser.
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { withProcess } from "./process.mjs";

/** Where a page posts its result. */
export const RESULT_PATH = "/result";

const PAGE = `<!doctype html><meta charset="utf-8"><title>engine</title>
<script>
  onerror = (message) => fetch("${RESULT_PATH}", { method: "POST", body: JSON.stringify({ error: String(message) }) });
  onunhandledrejection = (event) => onerror(event.reason);
</script>
<script type="module" src="/program.mjs"></script>`;

/** Turns off what looks for servers at every start. */
const CHROMIUM_FLAGS = [
  "--headless",
  "--disable-gpu",
  "--disable-quic",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
];
const FIREFOX_PREFERENCES = {
  "app.normandy.enabled": false,
  "app.update.enabled": false,
  "browser.aboutwelcome.enabled": false,
  "browser.safebrowsing.downloads.enabled": false,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "extensions.getAddons.cache.enabled": false,
  "extensions.update.enabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "services.settings.server": "data:,none",
  "toolkit.telemetry.enabled": false,
};

/** The arguments of Chromium for a page. Its sandbox refuses to start as root. */
export function chromium() {
  const flags = process.getuid?.() === 0 ? [...CHROMIUM_FLAGS, "--no-sandbox"] : CHROMIUM_FLAGS;
  return (folder, url) => [...flags, `--user-data-dir=${folder}`, url];
}

/** The arguments of Firefox for a page, with `preferences` beside the usual ones. */
export function firefox(preferences) {
  return (folder, url) => {
    const all = Object.entries({ ...FIREFOX_PREFERENCES, ...preferences });
    const lines = all.map(
      ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
    );
    writeFileSync(join(folder, "user.js"), lines.join(""));
    return ["--headless", "--no-remote", "--profile", folder, url];
  };
}

/** The result that `script` posts when the browser opens it. @throws when the page fails or the browser ends first */
export async function runPage(command, script, argsFor) {
  const { server, url, result } = await serve(script);
  try {
    return await withProcess(
      (folder) => [...command, ...argsFor(folder, url)],
      ({ printed, ended }) => {
        const without = ended.then((how) => {
          throw new Error(`${how} without a result: ${printed().slice(-1500)}`);
        });
        return Promise.race([result, without]);
      },
    );
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** A server of the page and its script; `result` is what is posted to it. */
async function serve(script) {
  let post;
  const result = new Promise((resolve, reject) => {
    post = (text) => {
      const posted = JSON.parse(text);
      if (posted.error === undefined) resolve(posted);
      else reject(new Error(`the page failed: ${posted.error}`));
    };
  });
  // Whoever waits for it may have given up by then.
  result.catch(() => {});
  const server = createServer((request, response) => {
    const send = (status, type, body = "") => response.writeHead(status, { "content-type": type }).end(body);
    if (request.method === "POST" && request.url === RESULT_PATH) {
      const chunks = [];
      request.on("data", (chunk) => chunks.push(chunk));
      request.on("end", () => {
        send(204, "text/plain");
        post(Buffer.concat(chunks).toString());
      });
    } else if (request.url === "/program.mjs") send(200, "text/javascript; charset=utf-8", script);
    else if (request.url === "/") send(200, "text/html; charset=utf-8", PAGE);
    else send(404, "text/plain");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${server.address().port}/`, result };
}
