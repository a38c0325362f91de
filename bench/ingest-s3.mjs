// Ingest of all word vectors to an S3 server, held against plain PUTs of the very same objects in the same run.
//   eval "$(scripts/rgw.sh env)"; node bench/ingest-s3.mjs [rounds] [rows-a-flush] [algorithm]
// The source is read from disk as it goes, so resident memory is that of the ingest. The plain PUTs go through the same
// client, eight at a time, with all bytes ready beforehand; they run after each ingest, in a child process of their own.
import { spawnSync } from "node:child_process";
import { open } from "node:fs/promises";
import { Dataset, openStore, Schema } from "../build/lib/index.node.js";
import { publicBucket } from "./bucket.mjs";
import { countingStore } from "./counting-store.mjs";
import { median, spread } from "./statistics.mjs";
import { DIM, OUT } from "./words.mjs";

const CONCURRENCY = 8;
const endpoint = process.env.AWS_ENDPOINT_URL;
if (endpoint === undefined)
  throw new Error('no server: scripts/rgw.sh start && eval "$(scripts/rgw.sh env)"');

if (process.argv[2] === "--copy") console.log(JSON.stringify(await copy(process.argv[3], process.argv[4])));
else if (process.argv[2] === "--ingest")
  console.log(JSON.stringify(await ingest(process.argv[3], Number(process.argv[4]), process.argv[5])));
else await compare(Number(process.argv[2] ?? 5), Number(process.argv[3] ?? 40_000), process.argv[4]);

async function compare(rounds, rows, algorithm = "dreamdb.ivf-cosine") {
  const bucket = await publicBucket(endpoint);
  const samples = [];
  for (let round = 0; round < rounds; round++) {
    const at = `${bucket.url}/r${round}`;
    const written = child("--ingest", at, rows, algorithm);
    const plain = child("--copy", at, `${bucket.url}/c${round}`);
    samples.push({ written, plain, ratio: written.bytes / written.ms / (plain.bytes / plain.ms) });
    console.error(
      `round ${round}: ingest ${rate(written)} MB/s (cpu ${written.cpuMs} ms of ${written.ms.toFixed(0)}), plain PUTs ${rate(plain)} MB/s` +
        ` (cpu ${plain.cpuMs} ms of ${plain.ms.toFixed(0)}), ratio ${samples.at(-1).ratio.toFixed(2)}, peak ${written.peakMiB} MiB`,
    );
  }
  await bucket.remove();
  const of = (pick) => samples.map(pick);
  const line = (what, values, digits) =>
    console.log(`  ${what.padEnd(26)} ${median(values).toFixed(digits)}  ${spread(values, digits)}`);
  const { rows: total, objects, bytes } = samples[0].written;
  console.log(
    `ingest ${total} × ${DIM} ${algorithm}, ${rows} a flush: ${objects} puts, ${(bytes / 1e6).toFixed(0)} MB`,
  );
  line("ingest MB/s", of((s) => rate(s.written)).map(Number), 1);
  line("plain PUTs MB/s", of((s) => rate(s.plain)).map(Number), 1);
  line(
    "ratio",
    of((s) => s.ratio),
    2,
  );
  line(
    "peak resident MiB",
    of((s) => s.written.peakMiB),
    0,
  );
}

function rate({ bytes, ms }) {
  return (bytes / 1e3 / ms).toFixed(1);
}

function child(...args) {
  const { status, stdout } = spawnSync(process.execPath, [process.argv[1], ...args.map(String)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) throw new Error(`${args[0]} ended with ${status}`);
  return JSON.parse(stdout.toString());
}

async function ingest(at, rows, algorithm) {
  const { store, written } = countingStore(openStore(at));
  const ds = await Dataset.create(
    "words",
    new Schema().addEmbedding("vector", { dim: DIM, algorithm }),
    store,
  );
  const file = await open(`${OUT}words.f32`);
  const { size } = await file.stat();
  const began = process.cpuUsage();
  const started = performance.now();
  if (ds.writer === undefined) {
    for await (const records of read(file, size, rows)) await ds.appendMany(records);
  } else {
    const writer = ds.writer({ rows });
    for await (const records of read(file, size, Math.min(rows, 5000))) await writer.write(records);
    await writer.close();
  }
  const ms = performance.now() - started;
  const cpu = process.cpuUsage(began);
  await file.close();
  const total = await ds.count();
  await ds.close();
  const peakMiB = Math.round(process.resourceUsage().maxRSS / 1024);
  return { rows: total, ...written, ms, cpuMs: Math.round((cpu.user + cpu.system) / 1e3), peakMiB };
}

async function* read(file, size, rows) {
  for (let at = 0; at < size; at += rows * DIM * 4) {
    const bytes = new Uint8Array(Math.min(rows * DIM * 4, size - at));
    await file.read(bytes, 0, bytes.length, at);
    const floats = new Float32Array(bytes.buffer);
    yield Array.from({ length: floats.length / DIM }, (_, i) => ({
      vector: floats.subarray(i * DIM, (i + 1) * DIM),
    }));
  }
}

/** Puts every object of `from` under `to`, as fast as the client and the server go. */
async function copy(from, to) {
  const source = openStore(from);
  const values = [];
  for await (const { key } of source.list("objects/")) values.push([key, (await source.get(key)).bytes]);
  const target = openStore(to);
  await target.put("objects/first", new Uint8Array(1)).catch(() => undefined);
  const bytes = values.reduce((sum, [, value]) => sum + value.length, 0);
  const began = process.cpuUsage();
  const started = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      while (next < values.length) await target.put(...values[next++]);
    }),
  );
  const ms = performance.now() - started;
  const cpu = process.cpuUsage(began);
  await source.close?.();
  await target.close?.();
  return {
    objects: values.length,
    bytes,
    ms,
    cpuMs: Math.round((cpu.user + cpu.system) / 1e3),
  };
}
