// How much of the true nearest a field's index finds: verify.mjs <ref> <field> <queries> <least recall>. Exit code 5 below that.
// Queries are records of the dataset, each left out of its own answer. The truth is the first 10 of 100 asked of all cells: so many
// candidates are scored that estimates play no part.
import { execFileSync } from "node:child_process";

const [ref, field, queries, least] = process.argv.slice(2);
const dreamdb = (...args) =>
  JSON.parse(execFileSync("dreamdb", [...args, "--json", "--quiet"], { maxBuffer: 256 << 20 }));

const { tracks } = dreamdb("inspect", ref, "--max-depth", "1");
const track = tracks.find((each) => each.field === field);
if (track === undefined) throw new Error(`${ref} has no vector field ${field}`);

// Some records from all over the space: the nearest to a few directions.
const anchors = new Set();
for (let i = 0; anchors.size < Number(queries) && i < 4 * Number(queries); i++) {
  const vector = Array.from({ length: track.dim }, (_, n) => Math.sin(1 + i * 7.3 + n * (i + 1)));
  const { hits } = dreamdb(
    "query",
    ref,
    "--field",
    field,
    "--vector",
    JSON.stringify(vector),
    "--top-k",
    "2",
  );
  for (const { anchor } of hits) anchors.add(anchor);
}

let found = 0;
let wanted = 0;
for (const anchor of [...anchors].slice(0, Number(queries))) {
  const near = (...options) =>
    dreamdb("query", ref, "--field", field, "--like", anchor, "--top-k", "100", ...options)
      .hits.slice(0, 10)
      .map((hit) => hit.anchor);
  const truth = near("--nprobe", String(track.cells));
  const got = new Set(
    dreamdb("query", ref, "--field", field, "--like", anchor, "--top-k", "10").hits.map((hit) => hit.anchor),
  );
  wanted += truth.length;
  found += truth.filter((each) => got.has(each)).length;
}
const recall = wanted === 0 ? 1 : found / wanted;
console.log(JSON.stringify({ ref, field, cells: track.cells, queries: anchors.size, recall }));
process.exit(recall >= Number(least) ? 0 : 5);
