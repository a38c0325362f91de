/** What a simulated writer or reader does: verbs of the real library one after the other, and what it was told. */
import { Dataset } from "../../src/dataset/dataset.ts";
import { Schema } from "../../src/dataset/schema.ts";
import { type DreamDBError, isDreamDBError } from "../../src/errors.ts";
import type { Store } from "../../src/store/store.ts";
import { randomBytes } from "./world.ts";

export const ORIGIN = 1_600_000_000_000_000_000n;
export const NOW = 1_700_000_000_000_000_000n;
export const YEAR = 365n * 86_400n * 1_000_000_000n;

export const small = new Schema()
  .addScalarInt("n")
  .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 1, required: false });

/** With a field for each kind of index. */
export const rich = new Schema()
  .addScalarInt("n", { index: true })
  .addScalarString("text", { required: false, index: true })
  .addEmbedding("v", { dim: 2, algorithm: "dreamdb.lsh-cosine", lshBits: 1, required: false })
  .addEmbedding("cells", { dim: 4, algorithm: "dreamdb.ivf-cosine", required: false })
  .addEmbedding("graph", { dim: 4, algorithm: "dreamdb.vamana-cosine", required: false });

export type Op =
  /** Records with these numbers, each used once in a scenario; `at` gives explicit anchors from NOW + at on. */
  | { do: "append"; rows: number[]; at?: number }
  | { do: "rebuild" }
  | { do: "compress" }
  | { do: "step" }
  | { do: "graph" }
  | { do: "snapshot"; label: string }
  | { do: "create"; name: string }
  | { do: "refresh" }
  | { do: "read" }
  | { do: "search" }
  | { do: "refs" }
  | { do: "history" }
  | { do: "reopen" };

/** Splits a cell, recentres another, and looks at neighbours. */
export const A_STEP = {
  field: "cells",
  splitAbove: 2,
  recentre: 1,
  iterations: 1,
  limit: 1,
  reassignAbove: 0.6,
};

/** What the caller of one verb knows when it has ended. */
export interface Outcome {
  op: Op;
  /** The answer to "is it in?". Readers: always "no". */
  committed: "yes" | "no" | "unknown";
  code?: string;
  opId?: string;
  anchors?: bigint[];
  /** What a read saw: the state, and the records' numbers with their anchors. */
  saw?: { manifest: string; rows: [anchor: bigint, n: number][] };
  /** Something no caller should ever be told. */
  fault?: string;
}

export interface ClientPlan {
  ops: Op[];
  /** Years that this client's clock is off, for each call in turn. */
  skewYears?: number[];
  /** Whether it opens the dataset anew to resolve an unknown outcome, as after a restart. */
  reopens?: boolean;
  /** How often it asks before it leaves an outcome unknown. */
  patience?: number;
  retries?: number;
  /** Only reads. Its view of refs may then lag behind. */
  isReader?: boolean;
  schema?: Schema;
  /** The branch it works on. Default "main". */
  branch?: string;
  /** Same bytes for all drawings of ids after the first: a planted fault. */
  random?: (count: number) => Uint8Array;
}

const WRITES = new Set(["append", "rebuild", "compress", "step", "graph", "snapshot", "create"]);

/** Codes that a fault-free library under a faulty backend may give, by verb. */
const FOR_ALL = [
  "NotFound",
  "StoreUnavailable",
  "HashMismatch",
  "Corrupt",
  "CommitUnknown",
  "LimitExceeded",
  "UnsupportedVersion",
];
const CODES: Record<Op["do"], string[]> = {
  append: [...FOR_ALL, "Conflict", "DuplicateAnchor", "RefRollback"],
  rebuild: [...FOR_ALL, "Conflict", "InvalidArgument", "RefRollback"],
  compress: [...FOR_ALL, "Conflict", "InvalidArgument", "RefRollback"],
  step: [...FOR_ALL, "Conflict", "InvalidArgument", "RefRollback"],
  graph: [...FOR_ALL, "Conflict", "InvalidArgument", "RefRollback"],
  snapshot: [...FOR_ALL, "AlreadyExists"],
  create: [...FOR_ALL, "AlreadyExists"],
  refresh: [...FOR_ALL, "RefRollback"],
  read: FOR_ALL,
  search: FOR_ALL,
  refs: FOR_ALL,
  history: FOR_ALL,
  reopen: FOR_ALL,
};

/**
 * Runs a plan against a store, adding to `outcomes` as it goes, so that what a crashed client had been told stays
 * known. Deterministic: the same answers from the store make the same requests.
 */
export async function runClient(
  store: Store,
  name: string,
  plan: ClientPlan,
  outcomes: Outcome[],
): Promise<void> {
  let calls = 0;
  const skews = plan.skewYears ?? [0];
  const options = {
    writer: name,
    random: plan.random ?? randomBytes(name),
    sleep: async () => {},
    clock: () => NOW + YEAR * BigInt(skews[calls++ % skews.length]!),
    retries: plan.retries ?? 3,
    kernels: "scalar" as const,
  };
  const schema = plan.schema ?? small;
  const patience = plan.patience ?? 2;
  const open = () => Dataset.open(plan.branch ?? "main", store, options) as Promise<Dataset>;
  let dataset: Dataset | undefined;
  for (const op of plan.ops) {
    const outcome: Outcome = { op, committed: "no" };
    try {
      if (dataset === undefined || op.do === "reopen") dataset = await open();
    } catch (error) {
      note(outcome, error, "reopen");
      outcomes.push(outcome);
      continue;
    }
    try {
      const found = await take(op, dataset, store, options, schema);
      Object.assign(outcome, found);
      if (WRITES.has(op.do)) outcome.committed = "yes";
    } catch (error) {
      note(outcome, error, op.do);
      if (outcome.committed === "unknown" && outcome.opId !== undefined && op.do === "append")
        dataset = await settle(op, dataset, plan.reopens === true ? open : undefined, outcome, patience);
    }
    outcomes.push(outcome);
  }
}

async function take(
  op: Op,
  dataset: Dataset,
  store: Store,
  options: object,
  schema: Schema,
): Promise<Partial<Outcome>> {
  switch (op.do) {
    case "append":
      return { anchors: (await dataset.appendMany(recordsOf(op, dataset.schema) as never)).anchors };
    case "rebuild":
      await dataset.rebuildIvf({ field: "cells", k: 2, iterations: 1 });
      return {};
    case "compress":
      await dataset.publishCompressor({ field: "cells", bits: 2 });
      return {};
    case "step":
      await dataset.adaIvfStep(A_STEP);
      return {};
    case "graph":
      await dataset.buildGraph({ field: "graph", degree: 4, candidates: 8 });
      return {};
    case "snapshot":
      await dataset.snapshot(op.label);
      return {};
    case "create":
      await Dataset.create(op.name, schema, store, { ...options, origin: ORIGIN });
      return {};
    case "refresh":
      await dataset.refresh();
      return {};
    case "read": {
      const manifest = dataset.currentManifest();
      return { saw: { manifest, rows: await readRows(dataset) } };
    }
    case "search": {
      const manifest = dataset.currentManifest();
      return { saw: { manifest, rows: await searchRows(dataset) } };
    }
    case "refs":
      await dataset.listRefs();
      return {};
    case "history":
      await dataset.history();
      return {};
    case "reopen":
      return {};
  }
}

/** After an unknown outcome: ask, and do it again under the same name when it is not in. */
async function settle(
  op: Extract<Op, { do: "append" }>,
  dataset: Dataset,
  reopen: (() => Promise<Dataset>) | undefined,
  outcome: Outcome,
  patience: number,
): Promise<Dataset> {
  const opId = outcome.opId as string;
  let current = dataset;
  for (let i = 0; i < patience; i++) {
    try {
      if (reopen !== undefined) current = await reopen();
      // By turns: ask first, or repeat at once under the same name.
      if (i % 2 === 0 && (await current.resume(opId)) !== undefined) {
        outcome.committed = "yes";
        return current;
      }
      outcome.anchors = (await current.appendMany(recordsOf(op, current.schema) as never, { opId })).anchors;
      outcome.committed = "yes";
      return current;
    } catch (error) {
      // The repetition itself was refused. Whether the first try is in stays as open as it was, unless it says so.
      const again: Outcome = { op, committed: "unknown" };
      note(again, error, "append", false);
      if (again.fault !== undefined) outcome.fault = again.fault;
    }
  }
  return current;
}

/** Enters an error, and what is wrong with it as an error. */
function note(outcome: Outcome, error: unknown, verb: Op["do"], isWrite = WRITES.has(verb)): void {
  if (!isDreamDBError(error)) {
    outcome.fault = `untyped error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
    return;
  }
  const known = error as DreamDBError;
  outcome.code = known.code;
  if (!CODES[verb].includes(known.code)) outcome.fault = `${verb} ended in ${known.code}: ${known.message}`;
  if (!isWrite) return;
  if (known.opId !== undefined) outcome.opId = known.opId;
  if (known.committed === undefined) {
    outcome.fault ??= `${verb} ended in ${known.code} without saying whether it is in: ${known.message}`;
    return;
  }
  outcome.committed = known.committed;
  if (known.code === "CommitUnknown" && known.committed !== "unknown")
    outcome.fault ??= `CommitUnknown says committed: ${known.committed}`;
  if (known.code === "CommitUnknown" && verb === "append" && known.opId === undefined)
    outcome.fault ??= "CommitUnknown without an opId to ask with";
}

export function recordsOf(op: Extract<Op, { do: "append" }>, schema: Schema): Record<string, unknown>[] {
  const names = new Set(schema.fields.map((field) => field.name));
  return op.rows.map((n, i) => ({
    n,
    ...(n % 4 === 3 ? {} : { v: [1, n + 1] }),
    ...(names.has("text") && n % 2 === 0 ? { text: `text ${n % 5}` } : {}),
    ...(names.has("cells") ? { cells: [1, n % 3, n % 7, 2] } : {}),
    ...(names.has("graph") ? { graph: [n % 5, 1, 2, n % 3] } : {}),
    ...(op.at === undefined ? {} : { _anchor: NOW + BigInt(op.at + i * i * 7) }),
  }));
}

export async function readRows(dataset: Dataset): Promise<[bigint, number][]> {
  const rows: [bigint, number][] = [];
  for await (const batch of dataset.iterStream({ fields: ["n"] })) {
    const { _time_anchors: anchors, n } = batch as unknown as { _time_anchors: bigint[]; n: number[] };
    anchors.forEach((anchor, i) => {
      rows.push([anchor, n[i]!]);
    });
  }
  return rows;
}

/** The records with a vector, by a search for all of them through whatever index there is. */
export async function searchRows(dataset: Dataset, field = "v"): Promise<[bigint, number][]> {
  const { dim } = dataset.schema.fields.find((each) => each.name === field) as { dim: number };
  const query = Array<number>(dim).fill(1);
  const rows: [bigint, number][] = [];
  for (const batch of await dataset.iterVector({ field, query, topK: 1000, fields: ["n"] })) {
    const { _time_anchors: anchors, n } = batch as unknown as { _time_anchors: bigint[]; n: number[] };
    anchors.forEach((anchor, i) => {
      rows.push([anchor, n[i]!]);
    });
  }
  return rows.sort(([a], [b]) => (a < b ? -1 : 1));
}
