// What a page sees of the library: the same bits as Node, whatever the network does. Run by scripts/test-browser.mjs.
import { Dataset, DreamDBSpace, isDreamDBError, openStore } from "/lib/index.js";
import { equal, fails, node, ok, placeKind, runAll, servedTest, test, using } from "./harness.mjs";
import { textOf } from "./text.mjs";
import "./answers.mjs";
import "./hostile.mjs";

const ORIGIN = 1_700_000_000_000_000_000n;
const DIM = 32;
/** Faults that last are told of soon. */
const HASTY = { remote: { attempts: 2, minDelayMs: 1, maxDelayMs: 5, timeoutMs: 1500 } };

const violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
  violations.push(`${violatedDirective} ${blockedURI}`),
);

const vector = (seed) => Array.from({ length: DIM }, (_, i) => Math.sin(seed * 7.13 + i * 1.7));
const query = (seed, more = {}) => ({
  field: "v",
  query: vector(seed),
  topK: 12,
  fields: ["label", "n", "x", "v"],
  ...more,
});

for (const [where, options] of [
  ["here", {}],
  ["in a worker", { worker: true }],
  // The same over any backend.
  ...(placeKind === "served"
    ? [["in a worker of the page's own", { worker: () => new Worker("/lib/worker.js", { type: "module" }) }]]
    : []),
]) {
  test(`${where}: tracks, count, history and records are those of Node`, async () => {
    const { url, bucket } = await node("make");
    await using(`${url}/refs/main`, options, async (space) => {
      equal(textOf(space.tracks()), await node("text", { bucket, method: "tracks", args: [] }));
      equal(await space.count(), 400);
      equal(textOf(await space.history(5)), await node("text", { bucket, method: "history", args: [5] }));
      for (const n of [0n, 3n, 399n])
        equal(textOf(await space.get(ORIGIN + n)), await node("get", { bucket, anchor: ORIGIN + n }));
      const range = { from: ORIGIN + 17n, to: ORIGIN + 250n };
      const batches = [];
      for await (const batch of space.stream({ batchSize: 100, range })) batches.push(batch);
      equal(
        textOf(batches),
        await node("text", { bucket, method: "iterStream", args: [{ batchSize: 100, range }] }),
      );
      equal(
        (await space.branches()).map(({ name }) => name),
        ["main"],
      );
    });
  });

  test(`${where}: searches give the bits that Node's give`, async () => {
    for (const index of ["ivf-cosine", "ivf-l2", "lsh-cosine", "imi-cosine", "vamana-cosine"]) {
      const { url, bucket } = await node("make", { index });
      for (const kernels of ["simd", "scalar"]) {
        await using(`${url}/refs/main`, { ...options, kernels }, async (space) => {
          const asked = [
            query(1),
            query(2, { where: { label: "birch" } }),
            query(3, { batchSize: 5 }),
            query(4, { where: { n: { gte: 100, lt: 140 } } }),
          ];
          for (const each of asked)
            equal(
              textOf(await space.query(each)),
              await node("text", { bucket, method: "iterVector", args: [each] }),
              index,
            );
          const many = { field: "v", queries: [5, 6, 7].map(vector), topK: 4 };
          equal(
            textOf(await space.queryMany(many)),
            await node("text", { bucket, method: "queryMany", args: [many] }),
            index,
          );
        });
      }
    }
  });

  test(`${where}: a writer in Node appends, the page refreshes and finds; earlier states stay`, async () => {
    const { url, bucket, manifest } = await node("make");
    await using(`${url}/refs/main`, options, async (space) => {
      const moves = [];
      space.addEventListener("refmoved", ({ detail }) => moves.push(detail));
      await node("append", { bucket, from: 400, count: 30 });
      const { manifest: latest } = await node("append", { bucket, from: 430, count: 1 });
      equal([await space.count(), await space.get(ORIGIN + 430n)], [400, undefined]);
      equal(await space.refresh(), latest);
      equal([await space.count(), (await space.get(ORIGIN + 430n)).n], [431, 430]);
      equal(moves, [{ from: manifest, to: latest }]);
      equal(
        textOf(await space.query(query(1))),
        await node("text", { bucket, method: "iterVector", args: [query(1)] }),
      );

      const past = await space.at(manifest);
      equal([await past.count(), past.isBranch], [400, false]);
      equal(
        textOf(await past.query(query(1))),
        await node("text", { bucket, at: manifest, method: "iterVector", args: [query(1)] }),
      );
      const diff = await space.diff(manifest);
      equal([diff.added, diff.removed, diff.changed], [31, 0, 0]);
      const added = [];
      for await (const { anchor } of diff.records({ fields: [] })) added.push(anchor - ORIGIN);
      equal(
        added,
        Array.from({ length: 31 }, (_, i) => BigInt(400 + i)),
      );
      await past.close();
      await node("snapshot", { bucket, label: "shot" });
      await using(`${url}/refs/shot`, options, async (shot) =>
        equal([await shot.count(), shot.isBranch], [431, false]),
      );
      await using(`${url}/objects/${manifest.slice(4, 6)}/${manifest}`, options, async (at) =>
        equal(await at.count(), 400),
      );
    });
  });

  test(`${where}: pictures are shown, markup never is`, async () => {
    const { url } = await node("make");
    await using(`${url}/refs/main`, options, async (space) => {
      const samples = await space.samples({ limit: 10 });
      equal([samples.length, samples.hasMore, samples[1].label, samples[1].n], [10, true, "birch", 1]);
      const image = new Image();
      image.src = samples[5].image.url;
      await image.decode();
      equal([image.naturalWidth, image.naturalHeight, samples[5].image.type], [1, 1, "image/png"]);
      const markup = samples[3].image;
      equal(
        [markup.url, markup.type, markup.refusal.code],
        [undefined, "application/octet-stream", "SchemaViolation"],
      );
      const { url: blob } = samples[5].image;
      samples.revoke();
      equal(samples[5].image.url, undefined);
      ok(
        await fetch(blob).then(
          () => false,
          () => true,
        ),
        "a revoked URL still works",
      );
      equal(globalThis.pwned, undefined);
    });
  });

  test(`${where}: a page appends where the bucket lets it, and Node reads that`, async () => {
    const { url, bucket } = await node("make", { writable: true });
    const record = {
      image: Uint8Array.of(1, 2, 3),
      v: vector(9),
      label: "dill",
      n: 7,
      _anchor: ORIGIN + 9999n,
    };
    await using(`${url}/refs/main`, options, (space) => fails(space.appendMany([record]), "ReadOnly"));
    await using(`${url}/refs/main`, { ...options, writable: true }, async (space) => {
      const { manifest } = await space.appendMany([record]);
      equal(space.manifest, manifest);
      const read = await node("get", { bucket, anchor: ORIGIN + 9999n });
      equal(textOf(await space.get(ORIGIN + 9999n)), read);
      ok(read.includes("dill"), read);
      await fails(space.appendMany([record]), "DuplicateAnchor");
      equal((await space.snapshot("shot")).manifest, manifest);
    });
  });

  servedTest(
    `${where}: downloads that break off, stall or come damaged are tried again, or told of`,
    async () => {
      for (const [kind, code, ...words] of [
        ["cut", "StoreUnavailable", "broke off"],
        ["drop", "StoreUnavailable", "no answer from the server"],
        ["stall", "StoreUnavailable", "too slow"],
        ["failing", "StoreUnavailable", "busy"],
        ["flip", "HashMismatch", "do not match their hash"],
      ]) {
        const { url, bucket } = await node("make");
        await using(`${url}/refs/main`, { ...options, ...HASTY }, async (space) => {
          await node("fault", { bucket, match: "^objects/", kind });
          let pending = 0;
          space.addEventListener("progress", ({ detail }) => {
            pending = detail.pending;
          });
          await fails(space.samples({ limit: 5 }), code, ...words);
          await fails(space.query(query(1)), code, ...words);
          // Requests beside the one that failed are still at it, and would be joined.
          while (pending > 0) await new Promise((resolve) => setTimeout(resolve, 20));
          await node("heal", { bucket });
          // Once, and then no more.
          await node("fault", { bucket, match: "^objects/", kind, times: 1 });
          equal((await space.samples({ limit: 5 })).length, 5, kind);
          equal(
            textOf(await space.query(query(1))),
            await node("text", { bucket, method: "iterVector", args: [query(1)] }),
          );
        });
      }
    },
  );

  servedTest(
    `${where}: what is denied, missing or something else is told of, and the page stays usable`,
    async () => {
      const all = { ...options, ...HASTY };
      const { url, bucket } = await node("make");
      await fails(
        DreamDBSpace.fromUri(`${url}/refs/none`, all),
        "NotFound",
        "no dataset, branch or snapshot",
      );
      for (const [kind, code, ...words] of [
        ["denied", "StoreUnavailable", "denies access", "403"],
        ["absent", "NotFound"],
        ["no CORS", "StoreUnavailable", "CORS", location.origin, "docs/browser.md"],
        ["redirect", "StoreUnavailable", "redirects"],
      ]) {
        await node("fault", { bucket, match: "^refs/", kind });
        await fails(DreamDBSpace.fromUri(`${url}/refs/main`, all), code, ...words);
        await node("heal", { bucket });
      }
      await node("fault", { bucket, match: "^refs/", kind: "a page" });
      const wrong = await DreamDBSpace.fromUri(`${url}/refs/main`, all).catch((error) => error);
      ok(["NonCanonical", "Corrupt"].includes(wrong.code), `${wrong.code}: ${wrong.message}`);
      await node("heal", { bucket });
      await using(`${url}/refs/main`, all, async (space) => {
        await node("fault", { bucket, match: "^objects/", kind: "absent" });
        await fails(space.samples(), "NotFound", "an object that the dataset refers to is missing");
        await node("heal", { bucket });
        await node("fault", { bucket, match: "^objects/", kind: "a page" });
        await fails(space.samples(), "HashMismatch");
        await node("heal", { bucket });
        await node("fault", { bucket, match: "", kind: "no CORS" });
        await fails(space.refresh(), "StoreUnavailable", "CORS");
        await node("heal", { bucket });
        await space.refresh();
        equal((await space.samples({ limit: 7 })).length, 7);
      });
      // Nothing listens on the discard port.
      await fails(
        DreamDBSpace.fromUri("http://127.0.0.1:9/b/refs/main", all),
        "StoreUnavailable",
        "can't be reached",
      );
      await fails(DreamDBSpace.fromUri("http://127.0.0.1:9/b", all), "InvalidUri");
      await fails(DreamDBSpace.fromUri("./directory/refs/main", all), "UnsupportedBackend", "need Node");
      equal(globalThis.pwned, undefined);
    },
  );

  servedTest(`${where}: a ref that moves in the middle of a query changes nothing of it`, async () => {
    const { url, bucket } = await node("make");
    const before = await node("text", { bucket, method: "iterVector", args: [query(1)] });
    await using(`${url}/refs/main`, options, async (space) => {
      await node("fault", { bucket, match: "^objects/", kind: undefined, delayMs: 150 });
      const found = Promise.resolve(space.query(query(1)));
      await node("append", { bucket, from: 400, count: 50 });
      equal(textOf(await found), before);
      await node("heal", { bucket });
      await space.refresh();
      equal(await space.count(), 450);
    });
  });

  servedTest(`${where}: a call that is given up ends at once`, async () => {
    const { url, bucket } = await node("make");
    await using(`${url}/refs/main`, options, async (space) => {
      await node("fault", { bucket, match: "^objects/", kind: "stall" });
      const ender = new AbortController();
      setTimeout(() => ender.abort(), 100);
      const began = performance.now();
      await fails(space.samples({ signal: ender.signal }), "Aborted");
      ok(performance.now() - began < 2000, "it went on");
      await node("heal", { bucket });
      equal((await space.samples({ limit: 3 })).length, 3);
    });
  });

  servedTest(`${where}: the opening tells of what it waits for, and is given up at once`, async () => {
    const { url, bucket } = await node("make", { rows: 10 });
    await node("fault", { bucket, match: "^refs/", kind: undefined, delayMs: 1200 });
    const told = [];
    const began = performance.now();
    const onProgress = (progress) => told.push({ ...progress, ms: performance.now() - began });
    await using(`${url}/refs/main`, { ...options, onProgress }, async (space) => {
      const [first, second] = told;
      equal([first.pending, first.requests, second.requests], [1, 0, 1]);
      ok(second.ms - first.ms > 1000, `told ${first.ms} and ${second.ms} ms after the call`);
      ok(second.bytes > 100, `${second.bytes} bytes`);
      const { length } = told;
      await space.count();
      await space.samples({ limit: 1 });
      equal(told.length, length, "told after the opening");
    });
    const ender = new AbortController();
    setTimeout(() => ender.abort(), 200);
    const begun = performance.now();
    await fails(DreamDBSpace.fromUri(`${url}/refs/main`, { ...options, signal: ender.signal }), "Aborted");
    ok(performance.now() - begun < 1000, `it went on for ${performance.now() - begun} ms`);
    await node("heal", { bucket });
  });

  servedTest(
    `${where}: what is persisted is read from the browser, and healed where it is damaged`,
    async () => {
      const { url, bucket } = await node("make");
      const name = `cache-${where}`;
      const persist = { bytes: 1 << 24, name };
      const answer = await node("text", { bucket, method: "iterVector", args: [query(1)] });
      const visit = () =>
        using(`${url}/refs/main`, { ...options, persist }, async (space) => {
          equal(textOf(await space.query(query(1))), answer);
          equal((await space.samples({ limit: 50 })).length, 50);
        });
      const objectsRead = async () =>
        (await node("requests", { bucket })).filter(({ key }) => key.startsWith("objects/")).length;
      await visit();
      ok((await objectsRead()) > 0, "nothing was read");
      await visit();
      equal(await objectsRead(), 0, "objects that were read again");

      const cache = await caches.open(name);
      const keys = await cache.keys();
      for (const key of keys) {
        const held = await cache.match(key);
        const bytes = new Uint8Array(await held.arrayBuffer());
        bytes[0] ^= 1;
        await cache.put(key, new Response(bytes, { headers: held.headers }));
      }
      await visit();
      ok((await objectsRead()) > 0, "damaged bytes were taken");

      const heldBytes = async () => {
        let bytes = 0;
        for (const key of await cache.keys())
          bytes += (await (await cache.match(key)).arrayBuffer()).byteLength;
        return bytes;
      };
      const most = await heldBytes();
      const budget = Math.floor(most / 2);
      const other = await node("make");
      await using(
        `${other.url}/refs/main`,
        { ...options, persist: { bytes: budget, name } },
        async (space) => {
          await space.samples();
          await space.query(query(1));
        },
      );
      ok((await heldBytes()) <= budget, `${await heldBytes()} bytes kept of a budget of ${budget}`);
      await caches.delete(name);
    },
  );
}

servedTest("the page is not held up while a worker searches, as it is without one", async () => {
  const { url } = await node("make", { rows: 20_000, build: false });
  const many = { field: "v", queries: Array.from({ length: 400 }, (_, i) => vector(i)), topK: 10 };
  const least = {};
  for (const worker of [true, false]) {
    await using(`${url}/refs/main`, { worker }, async (space) => {
      await space.prewarm();
      least[worker] = Number.POSITIVE_INFINITY;
      // Another program may take the processor for a while; a page that is held up by the search is so every time.
      for (let run = 0; run < (worker ? 12 : 3) && least[worker] > 50; run++)
        least[worker] = Math.min(least[worker], await longestGap(space.queryMany(many)));
    });
  }
  ok(least.false > 50, `the search is too short to tell: ${least.false} ms`);
  ok(least.true <= 50, `the page stood still for ${least.true} ms`);
});

/** The longest time, in ms, that nothing else could run on this thread until `work` was done. */
async function longestGap(work) {
  let isDone = false;
  work.then(() => {
    isDone = true;
  });
  let longest = 0;
  let last = performance.now();
  const { port1, port2 } = new MessageChannel();
  await new Promise((resolve) => {
    port1.onmessage = () => {
      const now = performance.now();
      longest = Math.max(longest, now - last);
      last = now;
      if (isDone) resolve();
      else port2.postMessage(0);
    };
    port2.postMessage(0);
  });
  await work;
  return longest;
}

test("the entry for pages that leave all work to a worker loads little, and does the same", async () => {
  const loaded = () =>
    performance.getEntriesByType("resource").filter(({ name }) => name.includes("/lib/")).length;
  const before = loaded();
  const { DreamDBSpace: Lean } = await import("/lib/space.js");
  // Its chunks are the other entry's too.
  ok(loaded() - before <= 1, `${loaded() - before} more files`);
  const { url, bucket } = await node("make");
  const space = await Lean.fromUri(`${url}/refs/main`, { worker: true });
  equal(
    textOf(await space.query(query(1))),
    await node("text", { bucket, method: "iterVector", args: [query(1)] }),
  );
  await space.close();
});

test("a worker that can't be started is told of", async () => {
  const { url } = await node("make", { rows: 10 });
  const worker = () => new Worker("/lib/none.js", { type: "module" });
  const error = await DreamDBSpace.fromUri(`${url}/refs/main`, { worker }).catch((reason) => reason);
  ok(isDreamDBError(error, "Aborted"), String(error));
});

test("a dataset and standalone verbs work on the page as well", async () => {
  const { url, bucket } = await node("make", { rows: 50 });
  const dataset = await Dataset.open("main", url);
  equal(
    textOf(await dataset.iterVector(query(1))),
    await node("text", { bucket, method: "iterVector", args: [query(1)] }),
  );
  await dataset.close();
  const { fsck, listRefs, addressOf } = await import("/lib/index.js");
  equal(
    (await listRefs(url)).map(({ name }) => name),
    ["main"],
  );
  equal((await fsck(url)).problems, []);
  equal(addressOf(new Uint8Array()), "dyqk6e2jxh27tingubae32rw3teutg6lexe23qisw7gjve6k4qpteyq");
  equal(crossOriginIsolated, false);
  const pool = await Dataset.open("main", openStore(url), { workers: 1 });
  equal((await pool.queryMany({ field: "v", queries: [vector(1)], topK: 3 })).length, 1);
  await pool.close();
});

test("nothing of it all offended the Content-Security-Policy", () => {
  equal(violations, []);
});

if (placeKind === "ceph") await import("./ceph.mjs");
await runAll();
