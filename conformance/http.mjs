// Holds a server, or a proxy before one, to http.json: what a backend must answer over HTTP (spec/0005, 7).
//
//   node conformance/http.mjs --url http://host/bucket/prefix [--write-url http://origin/bucket/prefix] [--json]
//
// The place must take unsigned puts. Everything is written below a new prefix `conformance-…`, and stays there. With
// --write-url, puts go there and gets and lists to --url: a cache or a read-only proxy before a bucket. Needs Node 20 and
// nothing of this library. Ends with "N passed, N failed"; the exit code is 1 when anything failed, 2 for wrong usage.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const OK = [200, 201, 204];
const vectors = JSON.parse(readFileSync(new URL("http.json", import.meta.url), "utf8"));

/** Every case with `error`, undefined when the server keeps it. */
export async function runHttp({ url, writeUrl = url }) {
  const run = `conformance-${Date.now().toString(36)}-${Math.floor(Math.random() * 2 ** 32).toString(36)}`;
  const server = new Server(`${url.replace(/\/$/, "")}/${run}`, `${writeUrl.replace(/\/$/, "")}/${run}`);
  const results = [];
  for (const [i, { name, steps }] of vectors.cases.entries()) {
    const state = { place: `c${i}`, tags: new Map() };
    let error;
    for (const [number, step] of steps.entries()) {
      error = await server.step(step, state).catch((thrown) => `${thrown.message}${cause(thrown)}`);
      if (error !== undefined) {
        error = `step ${number + 1}, ${JSON.stringify(step).slice(0, 160)}: ${error}`;
        break;
      }
    }
    results.push({ name, error });
  }
  return results;
}

const cause = (error) => (error.cause?.code === undefined ? "" : ` (${error.cause.code})`);

class Server {
  constructor(url, writeUrl) {
    this.url = url;
    this.writeUrl = writeUrl;
    this.isBare = undefined;
    this.races = 0;
  }

  /** What is wrong with the answers to one step, undefined when nothing is. */
  async step(step, state) {
    if (step.differ) return this.compare(step.differ, state, false);
    if (step.equal) return this.compare(step.equal, state, true);
    if (step.list !== undefined) return this.checkList(step, state);
    if (step.race) return this.race(step, state);
    if (step.swaps) return this.swaps(step, state);
    const answer =
      step.get === undefined ? await this.put(step, state, bytesOf(step.body)) : await this.get(step, state);
    if (step.tag !== undefined) state.tags.set(step.tag, bare(answer.headers.get("etag")));
    const wrong = step.expect.map((rule) => mismatch(rule, answer));
    return wrong.includes(undefined) ? undefined : wrong.join("; or else ");
  }

  compare([a, b], { tags }, wanted) {
    const [one, other] = [tags.get(a), tags.get(b)];
    // A put need not answer with a tag.
    if (wanted && (one === undefined || other === undefined)) return undefined;
    return (one === other) === wanted
      ? undefined
      : `tags ${one} and ${other} ${wanted ? "differ" : "are equal"}`;
  }

  async get({ get, range }, { place }) {
    const headers = { "Accept-Encoding": "identity" };
    if (range) headers.Range = `bytes=${range[0]}-${range[0] + range[1] - 1}`;
    return read(
      await fetch(`${this.url}/${place}/${get}`, { headers, redirect: "manual", cache: "no-store" }),
    );
  }

  /** The answer to a put; If-Match in the form that the server takes, which is found out once (spec/0005, 7.4). */
  async put(step, state, body) {
    const tag = step.ifMatch === undefined ? undefined : state.tags.get(step.ifMatch);
    if (step.ifMatch === undefined || this.isBare !== undefined)
      return this.send(step, state, body, tag, this.isBare);
    if (tag === undefined) throw new Error("the server sends no ETag");
    for (const isBare of [false, true]) {
      const answer = await this.send(step, state, body, tag, isBare);
      if (!OK.includes(answer.status)) continue;
      this.isBare = isBare;
      return answer;
    }
    return this.send(step, state, body, tag, false);
  }

  async send({ put, create, alter }, { place }, body, tag, isBare) {
    const headers = {
      "Content-Type": "application/octet-stream",
      "Cache-Control": put.startsWith("objects/") ? "public, max-age=31536000, immutable" : "no-store",
    };
    if (create) headers["If-None-Match"] = "*";
    if (tag !== undefined) {
      const own = alter ? (tag.startsWith("0") ? "1" : "0") + tag.slice(1) : tag;
      headers["If-Match"] = isBare ? own : `"${own}"`;
    }
    const url = `${this.writeUrl}/${place}/${put}`;
    return read(await fetch(url, { method: "PUT", body, headers, redirect: "manual" }));
  }

  /** Many at once: at most one is told that it succeeded, and the value is that one's. */
  async race(step, state) {
    // Never the same bytes twice: tags may be made of them.
    const race = this.races++;
    const texts = Array.from({ length: step.race }, (_, i) => `race ${race}, racer ${i}`);
    const bodies = texts.map(bytesOf);
    const answers = await Promise.all(bodies.map((body) => this.put(step, state, body)));
    const statuses = answers.map(({ status }) => status);
    const strange = statuses.find(
      (status) => !OK.includes(status) && ![304, 404, 409, 412].includes(status) && status < 500,
    );
    if (strange !== undefined) return `a loser was told ${strange}`;
    const winners = statuses.flatMap((status, i) => (OK.includes(status) ? [i] : []));
    if (winners.length > 1) return `${winners.length} were told that they succeeded`;
    const stored = new TextDecoder().decode((await this.get({ get: step.put }, state)).body);
    const found = texts.indexOf(stored);
    // A server error leaves it open whether the put was done.
    if (winners.length === 0 && found >= 0 && statuses[found] >= 500) return undefined;
    return found >= 0 && found === winners[0]
      ? undefined
      : `statuses ${statuses}, and the value is "${stored}"`;
  }

  async swaps({ put, swaps }, state) {
    for (let i = 1; i <= swaps; i++) {
      const before = await this.get({ get: put }, state);
      state.tags.set("now", bare(before.headers.get("etag")));
      const { status } = await this.put({ put, ifMatch: "now" }, state, bytesOf(String(i)));
      if (!OK.includes(status)) return `swap ${i}: status ${status}`;
      const seen = new TextDecoder().decode((await this.get({ get: put }, state)).body);
      if (seen !== String(i)) return `after swap ${i} the value was still "${seen}"`;
    }
    return undefined;
  }

  async checkList({ list, keys }, { place }) {
    const base = new URL(this.url);
    const [bucket, ...rest] = base.pathname.slice(1).split("/");
    const prefix = `${rest.join("/")}/${place}/`;
    const found = [];
    let next;
    do {
      const query = new URLSearchParams({ "list-type": "2", prefix: prefix + list, "max-keys": "2" });
      if (next !== undefined) query.set("continuation-token", next);
      const answer = read(await fetch(`${base.origin}/${bucket}?${query}`, { redirect: "manual" }));
      const { status, body } = await answer;
      if (status !== 200) return `status ${status}`;
      const xml = new TextDecoder().decode(body);
      for (const [, item] of xml.matchAll(/<Contents>(.*?)<\/Contents>/gs))
        found.push([element(item, "Key")?.slice(prefix.length), Number(element(item, "Size"))]);
      next = element(xml, "IsTruncated") === "true" ? element(xml, "NextContinuationToken") : undefined;
    } while (next !== undefined && found.length < 100);
    const [a, b] = [JSON.stringify(found), JSON.stringify(keys)];
    return a === b ? undefined : `keys ${a}, expected ${b}`;
  }
}

function element(xml, name) {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return found?.replace(/&(#\d+|amp|lt|gt|quot);/g, (_, one) =>
    one.startsWith("#")
      ? String.fromCharCode(Number(one.slice(1)))
      : { amp: "&", lt: "<", gt: ">", quot: '"' }[one],
  );
}

async function read(response) {
  return {
    status: response.status,
    headers: response.headers,
    body: new Uint8Array(await response.arrayBuffer()),
  };
}

function mismatch({ status, body, headers = {}, notCached }, answer) {
  if (!status.includes(answer.status)) return `status ${answer.status}, expected ${status.join(" or ")}`;
  for (const [name, wanted] of Object.entries(headers)) {
    const found = answer.headers.get(name);
    const isRight = typeof wanted === "boolean" ? (found !== null) === wanted : found === wanted;
    if (!isRight)
      return `${name}: ${found}, expected ${wanted === true ? "one" : wanted === false ? "none" : wanted}`;
  }
  if (body !== undefined && Buffer.compare(bytesOf(body), answer.body) !== 0)
    return `a body of ${answer.body.length} bytes, not the one expected`;
  const cacheControl = answer.headers.get("cache-control") ?? "no-store";
  if (notCached && !/no-store|no-cache|max-age=0/.test(cacheControl)) return `cache-control: ${cacheControl}`;
  return undefined;
}

/** Text; or so many bytes of the sequence 0, 1, … 250, 0, 1, … */
function bytesOf(body) {
  if (typeof body === "string") return new TextEncoder().encode(body);
  return Uint8Array.from({ length: body.bytes }, (_, i) => ((body.from ?? 0) + i) % 251);
}

function bare(etag) {
  return etag?.replace(/^W\//, "").replaceAll('"', "") ?? undefined;
}

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: "string" },
      "write-url": { type: "string" },
      json: { type: "boolean", default: false },
    },
  });
  if (values.url === undefined) throw new Error("--url http://host/bucket/prefix is needed");
  const results = await runHttp({ url: values.url, writeUrl: values["write-url"] });
  const failed = results.filter(({ error }) => error !== undefined);
  if (values.json) console.log(JSON.stringify(results, null, 2));
  else
    for (const { name, error } of results)
      console.log(error === undefined ? `ok      ${name}` : `FAILED  ${name}\n        ${error}`);
  console.log(`${results.length - failed.length} passed, ${failed.length} failed`);
  process.exit(failed.length > 0 ? 1 : 0);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  main().catch((error) => {
    console.error(error.message);
    process.exit(2);
  });
}
