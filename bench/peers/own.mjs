// What is measured of this library alone: how the cost of a query grows, filters, batches.
import { FILTERS, prepare, prepareFilter } from "./data.mjs";
import { missing } from "./dreamdb.mjs";
import { builtVariants } from "./indexes.mjs";
import { bestAt, race } from "./measure.mjs";

const BATCH = 256;
/** Settings carried from the main race into a section. */
const CARRIED = 6;
/** Batches scan more cheaply than they refine, so that another setting than a lone query's may be their best. */
const CARRIED_TO_BATCHES = 14;

/**
 * @param entry the index of the word vectors, raced
 * @returns {{ scale: object[], filters: object[], batch: object | undefined, missing: string[][] }}
 */
export async function ownSections(entry, scaleSets, how) {
  return {
    variant: entry.variant,
    scale: await scale(entry, scaleSets, how),
    filters: await filters(entry, how),
    batch: await batch(entry, how),
    missing: missing(),
  };
}

/** The same queries over more and more of the rows: [{ rows, point }], at a recall of .95. */
async function scale(entry, dataSets, how) {
  const entries = [];
  for (const dataSet of dataSets) {
    await prepare(dataSet);
    const wanted = (variant) => variant === entry.variant;
    entries.push(...(await builtVariants("DreamDB", dataSet, { wanted })));
  }
  entries.push(again(entry, carried(entry, 0.95)));
  await race(entries, how);
  return entries.map(({ dataSet, count, points }) => ({ dataSet, rows: count, point: bestAt(points, 0.95) }));
}

/** [{ filter, share, point, unfiltered }]: the fastest with a recall of .95 among the rows that match. */
async function filters(entry, how) {
  for (const filter of Object.keys(FILTERS)) await prepareFilter(entry.dataSet, filter);
  const plain = carried(entry, 0.85);
  const filtered = Object.keys(FILTERS).flatMap((filter) =>
    plain.map((setting) => ({ ...setting, filter, label: `${setting.label} where ${filter}` })),
  );
  const raced = again(entry, [...plain, ...filtered]);
  await race([raced], how);
  const unfiltered = bestAt(
    raced.points.filter((point) => point.filter === undefined),
    0.95,
  );
  return Object.entries(FILTERS).map(([filter, oneIn]) => {
    const points = raced.points.filter((point) => point.filter === filter);
    const mostAccurate = points.reduce((a, b) => (a.recall > b.recall ? a : b));
    return { filter, share: 1 / oneIn, point: bestAt(points, 0.95), mostAccurate, unfiltered };
  });
}

/** Queries by the batch beside the same settings one by one; undefined while there is no verb for it. */
async function batch(entry, how) {
  if (missing().some(([verb]) => verb === "queryMany")) return undefined;
  const single = carried(entry, 0.95, CARRIED_TO_BATCHES);
  const batched = single.map((setting) => ({
    ...setting,
    batch: BATCH,
    label: `${setting.label}, batch of ${BATCH}`,
  }));
  const raced = again(entry, [...single, ...batched]);
  await race([raced], how);
  const best = (size) =>
    bestAt(
      raced.points.filter((point) => point.batch === size),
      0.95,
    );
  return { size: BATCH, single: best(undefined), batched: best(BATCH) };
}

function again(entry, settings) {
  return { ...entry, settings, points: undefined };
}

/** The entry's settings that reach a recall, fastest first, and always its most accurate one. */
function carried({ settings, points }, recall, most = CARRIED) {
  const good = points
    .filter((point) => point.recall >= recall && !point.isTarget)
    .sort((a, b) => b.qps - a.qps);
  const chosen = new Set(good.slice(0, most).map(({ label }) => label));
  chosen.add(points.reduce((a, b) => (a.recall > b.recall ? a : b)).label);
  return settings.filter(({ label }) => chosen.has(label));
}
