// A page that is cross-origin isolated, where memory may be shared: the library does there what it does elsewhere. Run by
// scripts/test-browser.mjs beside suite.mjs, whose page is not.
import { Dataset } from "/lib/index.js";
import { equal, node, ok, runAll, test, using } from "./harness.mjs";
import { textOf } from "./text.mjs";

const DIM = 32;
const vector = (seed) => Array.from({ length: DIM }, (_, i) => Math.sin(seed * 7.13 + i * 1.7));
const query = { field: "v", query: vector(1), topK: 12, fields: ["label", "n", "x", "v"] };

for (const [where, options] of [
  ["here", {}],
  ["in a worker", { worker: true }],
]) {
  test(`isolated, ${where}: searches and pictures are those of other pages`, async () => {
    ok(crossOriginIsolated, "the page is not isolated");
    const { url, bucket } = await node("make");
    await using(`${url}/refs/main`, options, async (space) => {
      equal(
        textOf(await space.query(query)),
        await node("text", { bucket, method: "iterVector", args: [query] }),
      );
      const samples = await space.samples({ limit: 6 });
      const image = new Image();
      image.src = samples[5].image.url;
      await image.decode();
      equal([image.naturalWidth, samples[3].image.url], [1, undefined]);
      samples.revoke();
    });
  });
}

test("isolated: threads of a pool find what Node finds", async () => {
  const { url, bucket } = await node("make");
  const many = { field: "v", queries: [5, 6, 7, 8].map(vector), topK: 4 };
  const dataset = await Dataset.open("main", url, { workers: 2 });
  equal(
    textOf(await dataset.queryMany(many)),
    await node("text", { bucket, method: "queryMany", args: [many] }),
  );
  await dataset.close();
});

await runAll();
