// All word vectors with the word as text, in and out of a dataset in memory: as records, and as Arrow record batches that are
// there already. Prints records per second of CPU time (user + system) of this process.
// usage: node bench/arrow.mjs [rounds]
import * as arrow from "apache-arrow";
import { Dataset, memoryStore, Schema } from "../build/lib/index.node.js";
import { median, spread } from "./statistics.mjs";
import { DIM, loadWords } from "./words.mjs";

const rounds = Number(process.argv[2] ?? 5);
const BATCH = 40_000;

const { words, vectors } = await loadWords();
const records = words.map((word, i) => ({ word, vector: vectors.subarray(i * DIM, (i + 1) * DIM) }));
const batches = [];
for (let from = 0; from < words.length; from += BATCH) {
  const to = Math.min(words.length, from + BATCH);
  const child = arrow.makeData({ type: new arrow.Float32(), data: vectors.slice(from * DIM, to * DIM) });
  const type = new arrow.FixedSizeList(DIM, new arrow.Field("item", new arrow.Float32()));
  const vector = arrow.makeData({ type, length: to - from, nullCount: 0, child });
  const word = arrow.vectorFromArray(words.slice(from, to), new arrow.Utf8()).data[0];
  batches.push(new arrow.RecordBatch({ word, vector }));
}

async function measured(work) {
  const cpu = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return words.length / ((user + system) / 1e6);
}

async function consume(items, look) {
  let rows = 0;
  for await (const item of items) rows += look(item);
  if (rows !== words.length) throw new Error(`${rows} rows`);
}

const rates = { appendMany: [], appendArrow: [], iterStream: [], iterArrow: [] };
for (let round = 0; round < rounds; round++) {
  const schema = new Schema().addEmbedding("vector", { dim: DIM }).addScalarString("word");
  const ds = await Dataset.create("records", schema, memoryStore());
  const other = await Dataset.create("arrow", schema, memoryStore());
  rates.appendMany.push(
    await measured(async () => {
      for (let from = 0; from < records.length; from += BATCH)
        await ds.appendMany(records.slice(from, from + BATCH));
    }),
  );
  rates.appendArrow.push(
    await measured(async () => {
      for (const batch of batches) await other.appendArrow(batch);
    }),
  );
  rates.iterStream.push(
    await measured(() => consume(ds.iterStream({ batchSize: BATCH }), (batch) => batch.word.length)),
  );
  rates.iterArrow.push(
    await measured(() => consume(other.iterArrow({ arrow, batchSize: BATCH }), (batch) => batch.numRows)),
  );
  await ds.close();
  await other.close();
}
console.log(`${words.length} × ${DIM} and a text, ${BATCH} a batch: records/s of CPU time`);
for (const [what, values] of Object.entries(rates))
  console.log(`  ${what.padEnd(12)} ${median(values).toFixed(0)}  ${spread(values)}`);
