// What only a real object store can show: permissions and CORS as a gateway keeps to them, and pages that write beside others.
import { DreamDBSpace } from "/lib/index.js";
import { equal, fails, node, ok, test, using } from "./harness.mjs";

const HASTY = { remote: { attempts: 2, minDelayMs: 1, maxDelayMs: 5, timeoutMs: 5000 } };
/** Appends of the page and of Node in the race, in rounds that all begin together. */
const EACH = 20;
const ROUNDS = 4;

const vector = (seed) => Array.from({ length: 32 }, (_, i) => Math.sin(seed * 7.13 + i * 1.7));
const raced = (n) => ({ image: Uint8Array.of(n & 255), v: vector(n), label: "raced", n });

for (const [where, options] of [
  ["here", {}],
  ["in a worker", { worker: true }],
]) {
  const all = { ...options, ...HASTY };

  test(`${where}: buckets that don't let a page in are told of, each in its words`, async () => {
    const { url: hidden } = await node("elsewhere", { kind: "hidden" });
    await fails(
      DreamDBSpace.fromUri(`${hidden}/refs/main`, all),
      "StoreUnavailable",
      "CORS",
      location.origin,
      "docs/browser.md",
    );
    // It may neither read nor list there, which says the same as that nothing is there.
    const { url: closed } = await node("elsewhere", { kind: "private" });
    await fails(
      DreamDBSpace.fromUri(`${closed}/refs/main`, all),
      "NotFound",
      "no dataset, branch or snapshot",
    );
    const { url } = await node("elsewhere", { kind: "read" });
    await fails(DreamDBSpace.fromUri(`${url}/refs/none`, all), "NotFound", "no dataset, branch or snapshot");
    const none = url.replace(/\/[^/]+\/[^/]+$/, "/no-such-bucket/d");
    await fails(DreamDBSpace.fromUri(`${none}/refs/main`, all), "StoreUnavailable", "CORS");
    await using(`${url}/refs/main`, all, async (space) => equal(await space.count(), 1));
  });

  test(`${where}: a bucket that is only read takes no write of a page, and says why`, async () => {
    const { url, bucket } = await node("elsewhere", { kind: "read" });
    await using(`${url}/refs/main`, { ...all, writable: true }, async (space) => {
      const error = await fails(space.appendMany([{ n: 2 }]), "StoreUnavailable", "CORS", location.origin);
      equal(error.committed, "no");
      await fails(space.snapshot("shot"), "StoreUnavailable", "CORS");
      equal([await space.refresh(), await space.count()], [space.manifest, 1]);
    });
    const { ns, problems } = await node("audit", { bucket });
    equal([ns, problems], [[1], []]);
  });
}

test("pages that append at the same time as Node: each record is there once, in one history", async () => {
  const { url, bucket } = await node("make", { rows: 12, writable: true });
  const ref = `${url}/refs/main`;
  await using(ref, { writable: true, writer: "page" }, (here) =>
    using(ref, { writable: true, writer: "worker", worker: true }, async (there) => {
      await node("writer", { bucket });
      let lost = 0;
      for (const space of [here, there])
        space.addEventListener("request", ({ detail: { key, error } }) => {
          if (key === "refs/main" && error === "Conflict") lost++;
        });
      const manifests = [];
      const append = async (space, first, count) => {
        for (let n = first; n < first + count; n++)
          manifests.push((await space.appendMany([raced(n)])).manifest);
      };
      const each = EACH / ROUNDS;
      for (let round = 0; round < ROUNDS; round++) {
        const [ofNode] = await Promise.all([
          node("writerAppends", { bucket, first: 3000 + round * each, count: each }),
          append(here, 1000 + round * 3, 3),
          append(there, 2000 + round * (each - 3), each - 3),
        ]);
        manifests.push(...ofNode);
      }
      await node("writerEnds", { bucket });
      ok(lost > 0, "no writer came second: there was no race");

      await here.refresh();
      const { manifest } = await here.snapshot("raced");
      const { ns, count, history, problems } = await node("audit", { bucket });
      const expected = [
        ...Array.from({ length: 12 }, (_, n) => n),
        ...Array.from({ length: 3 * ROUNDS }, (_, i) => 1000 + i),
        ...Array.from({ length: EACH - 3 * ROUNDS }, (_, i) => 2000 + i),
        ...Array.from({ length: EACH }, (_, i) => 3000 + i),
      ];
      equal([ns, count, problems], [expected, expected.length, []]);
      // Each state has the one before as its only parent, down to the first, and each append is one of them.
      for (const [i, { parents }] of history.entries())
        equal(parents, i + 1 < history.length ? [history[i + 1].manifest] : [], `parents of state ${i}`);
      const line = new Set(history.map((entry) => entry.manifest));
      equal(
        [manifests.filter((each) => line.has(each)).length, new Set(manifests).size],
        [2 * EACH, 2 * EACH],
      );
      const appends = history.slice(0, 2 * EACH);
      equal([...new Set(appends.map(({ writer }) => writer))].sort(), ["node", "page", "worker"]);
      equal([history[0].manifest, manifest], [here.manifest, here.manifest]);

      await using(`${url}/refs/raced`, {}, async (shot) =>
        equal([shot.isBranch, shot.manifest], [false, manifest]),
      );
      equal(await there.refresh(), history[0].manifest);
      equal(await there.count(), expected.length);
    }),
  );
});
