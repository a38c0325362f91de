// Collections beside writers, branches, merges, compactions and readers in processes of their own, with so short an age that they
// really delete: nothing that was acknowledged may be missing afterwards, and something must have been deleted.
//
//   npm run build && node bench/gc.mjs --target /data/try --seconds 600
//   eval "$(bash rgw.sh env)" && node bench/gc.mjs --target s3://bucket/gc-1 --seconds 600 --age 5
//
// The target must be empty. Prints one line of JSON; exit code 1 when anything was lost, wrong, or nothing was deleted.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values: flags } = parseArgs({
  options: {
    target: { type: "string" },
    seconds: { type: "string", default: "60" },
    age: { type: "string", default: "2" },
    keep: { type: "string", default: "5" },
    writers: { type: "string", default: "3" },
    readers: { type: "string", default: "2" },
    library: { type: "string", default: new URL("../build/node/index.js", import.meta.url).href },
    role: { type: "string" },
    number: { type: "string", default: "0" },
    help: { type: "boolean", default: false },
  },
});
const HELP = `node bench/gc.mjs --target DIR_OR_URL [--seconds 60] [--age SECONDS, 2] [--keep STATES_OF_EACH_BRANCH, 5]
  [--writers 3] [--readers 2]`;
if (flags.help || flags.target === undefined) {
  console.log(HELP);
  process.exit(flags.help ? 0 : 2);
}

const { Dataset, Schema, deleteRef, fsck, gc } = await import(flags.library);
const { target } = flags;
const ageMs = Number(flags.age) * 1000;
const endsAt = Date.now() + Number(flags.seconds) * 1000;
const roles = { writer, reader, collector };
if (flags.role === undefined) await lead();
else {
  await roles[flags.role](Number(flags.number));
  process.disconnect();
}

/** Starts all, and looks at what is left. */
async function lead() {
  const schema = new Schema()
    .addScalarString("id")
    .addScalarInt("n")
    .addEmbedding("v", { dim: 8, algorithm: "dreamdb.lsh-cosine", lshBits: 3 });
  const main = await Dataset.create("main", schema, target);
  const acknowledged = new Set();
  const totals = {
    appends: 0,
    merges: 0,
    compactions: 0,
    retries: 0,
    reads: 0,
    rowsRead: 0,
    pins: 0,
    tooLate: 0,
    collections: 0,
    condemned: 0,
    deleted: 0,
    reclaimedBytes: 0,
    spared: 0,
  };
  const wrong = [];
  const start = (role, number) => {
    const left = Math.max(1, Math.ceil((endsAt - Date.now()) / 1000));
    const args = ["--role", role, "--number", String(number), "--target", target, "--seconds", String(left)];
    const child = fork(
      fileURLToPath(import.meta.url),
      [...args, "--age", flags.age, "--keep", flags.keep, "--library", flags.library],
      { execArgv: [] },
    );
    child.on("message", ({ rows = [], count = {}, fault }) => {
      for (const id of rows) acknowledged.add(id);
      for (const [key, by] of Object.entries(count)) totals[key] += by;
      if (fault !== undefined) wrong.push(fault);
    });
    return once(child, "exit").then(([code]) => {
      if (code !== 0) wrong.push(`${role} ${number} ended with ${code}`);
    });
  };
  const children = [start("collector", 0)];
  for (let i = 0; i < Number(flags.writers); i++) children.push(start("writer", i));
  for (let i = 0; i < Number(flags.readers); i++) children.push(start("reader", i));
  await Promise.all(children);
  await main.refresh();
  const times = new Map();
  for await (const { id } of main.iterStream({ fields: ["id"], batchSize: 10_000 }))
    for (const each of id) times.set(each, (times.get(each) ?? 0) + 1);
  for (const id of acknowledged)
    if (times.get(id) !== 1) wrong.push(`${id} is there ${times.get(id) ?? 0} times`);
  const before = await fsck(target);
  for (const { code, key } of before.problems) wrong.push(`fsck: ${code} ${key}`);
  // Nobody is at work any more: what is left goes at once.
  await gc(target, { ageMs: 0, keepManifests: 1 });
  // The list of pruned states that this one replaced.
  await gc(target, { ageMs: 0 });
  const after = await fsck(target);
  for (const { code, key } of after.problems) wrong.push(`fsck at the end: ${code} ${key}`);
  if (after.unreachable > 0) wrong.push(`${after.unreachable} objects are left that nothing reaches`);
  if (totals.reclaimedBytes === 0) wrong.push("nothing was deleted");
  if (totals.reads === 0) wrong.push("nothing was read");
  await main.close();
  console.log(
    JSON.stringify({ ok: wrong.length === 0, rows: acknowledged.size, ...totals, wrong: wrong.slice(0, 10) }),
  );
  process.exitCode = wrong.length === 0 ? 0 : 1;
}

/** Appends to main, and to branches that it merges and deletes; compacts. Some records are stored by everybody, time and again. */
async function writer(number) {
  const main = await Dataset.open("main", target, { writer: `writer ${number}` });
  for (let i = 0; Date.now() < endsAt; i++) {
    const rows = Array.from({ length: 1 + (i % 5) }, (_, k) => record(`${number}.${i}.${k}`, i + k));
    try {
      if (i % 7 === 3) {
        const name = `w${number}-${i}`;
        const branch = await main.branch(name);
        // On a branch that is thrown away: the same columns as another has.
        await branch.appendMany([record("same", 1)]);
        if (i % 2 === 0) {
          await branch.appendMany(rows);
          await main.merge(name, { strategy: "union-tracks" });
          // "same" came along: only what is the writer's own is counted.
          process.send({ rows: rows.map(({ id }) => id), count: { merges: 1 } });
        }
        await branch.close();
        await deleteRef(target, name);
      } else if (i % 11 === 5) {
        await main.compact();
        process.send({ count: { compactions: 1 } });
      } else {
        await main.appendMany(rows);
        process.send({ rows: rows.map(({ id }) => id), count: { appends: 1 } });
      }
    } catch (error) {
      // Lost races, and operations that took longer than the age.
      if (error.code !== "Conflict" || error.committed !== "no") throw error;
      process.send({ count: { retries: 1 } });
    }
  }
  await main.close();
}

/** Reads all of a state, from a snapshot that is deleted meanwhile when it has a pin; what there was before must be there. */
async function reader(number) {
  let known = 0;
  for (let i = 0; Date.now() < endsAt; i++) {
    const main = await Dataset.open("main", target, { cacheBytes: 0 });
    const pin = i % 2 === 0 ? await main.pin(60_000).catch(allowed) : undefined;
    const started = Date.now();
    try {
      const count = await main.count();
      // A pinned state has its time.
      if (pin !== undefined && i % 4 === 0)
        await new Promise((resolve) => setTimeout(resolve, Math.min(2 * ageMs, 8000)));
      let rows = 0;
      for await (const { id, n } of main.iterStream({ fields: ["id", "n", "v"], batchSize: 1000 })) {
        rows += id.length;
        if (
          id.some(
            (each, k) =>
              each !== "same" && Number(each.split(".")[1]) + Number(each.split(".")[2]) !== Number(n[k]),
          )
        )
          process.send({ fault: `reader ${number} got wrong values` });
      }
      if (rows !== count) process.send({ fault: `reader ${number} got ${rows} of ${count} rows` });
      if (count < known) process.send({ fault: `reader ${number} found ${count} rows after ${known}` });
      known = count;
      process.send({ count: { reads: 1, rowsRead: rows, pins: pin === undefined ? 0 : 1 } });
    } catch (error) {
      // Without a pin a state is sure to be there for the age only.
      const isLate = pin === undefined && error.code === "NotFound" && Date.now() - started >= ageMs / 2;
      if (!isLate)
        process.send({
          fault: `reader ${number}, ${pin === undefined ? "no " : ""}pin, ${Date.now() - started} ms: ${error.message}`,
        });
      process.send({ count: { tooLate: 1 } });
    }
    await pin?.release();
    await main.close();
  }
}

async function collector() {
  while (Date.now() < endsAt) {
    const { condemned, deleted, reclaimedBytes, spared } = await gc(target, {
      ageMs,
      keepManifests: Number(flags.keep),
    });
    process.send({ count: { collections: 1, condemned, deleted, reclaimedBytes, spared } });
    await new Promise((resolve) => setTimeout(resolve, Math.min(500, ageMs / 4)));
  }
}

function allowed(error) {
  if (error.code !== "NotFound") throw error;
  return undefined;
}

function record(id, n) {
  return { id, n, v: Array.from({ length: 8 }, (_, k) => Math.sin(n * (k + 1)) + 0.01) };
}
