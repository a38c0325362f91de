// One question to a dataset, put in the same words to a Space on a page and to a Dataset in Node.
import { textOf } from "./text.mjs";

/** What a query did, without what depends on the way to the backend: times, bytes and requests. */
const TOLD = ["strategy", "hits", "isExact", "cells", "cellsProbed", "scanned", "refined", "reranked"];
const SETTINGS = ["nprobe", "epsilon", "rerank", "beam", "expanded", "measured"];

const verbs = {
  tracks: (subject) => subject.tracks(),
  manifest: (subject) => subject.manifest ?? subject.currentManifest(),
  count: (subject) => subject.count(),
  get: (subject, anchor, options) => subject.get(anchor, options),
  history: (subject, limit) => subject.history(limit),
  query: (subject, query) => searchOf(subject, query),
  batches: (subject, query) => listOf(searchOf(subject, query)),
  queryMany: (subject, query) => subject.queryMany(query),
  explain: async (subject, query) => {
    const told = await subject.explain(query);
    return Object.fromEntries([...TOLD, ...SETTINGS].map((name) => [name, told[name]]));
  },
  stream: (subject, options) => listOf((subject.stream ?? subject.iterStream).call(subject, options)),
  refs: (subject) => (subject.refs ?? subject.listRefs).call(subject),
  diff: async (subject, from) => {
    const { records, ...diff } = await subject.diff(from);
    return [diff, await listOf(records())];
  },
  prewarm: (subject, options) => subject.prewarm(options),
};

/** The answer to `[verb, ...args]` as text; an error is an answer, by its code and the words that name what was wrong. */
export async function ask(subject, [verb, ...args]) {
  try {
    return textOf(await verbs[verb](subject, ...args));
  } catch (error) {
    if (error.code === undefined) throw error;
    return `${error.code} ${error.field} ${error.message}`;
  }
}

function searchOf(subject, query) {
  return (subject.query ?? subject.iterVector).call(subject, query);
}

async function listOf(items) {
  const list = [];
  for await (const item of items) list.push(item);
  return list;
}
