/** `ada-ivf-status` and `ada-ivf-step`: how rows lie in the cells of a built index, and keeping it in shape. */
import { type Command, InvalidArgumentError } from "commander";
import {
  type AdaIvfOptions,
  type AdaIvfPlan,
  type AdaIvfProgress,
  type AdaIvfStatus,
  type AdaIvfStep,
  type Address,
  Dataset,
  DreamDBError,
} from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { Progress, Stages } from "./progress.ts";
import { pairs } from "./table.ts";
import { plural } from "./text.ts";

const STATUS_EXAMPLES = `
dreamdb ada-ivf-status photos --field embedding
dreamdb ada-ivf-status photos --field embedding --scan --json`;

const STATUS_DETAILS = `
Reads the heads of the index's segments; with --scan all vectors. What is too much is for the caller to say: nothing acts on it.
`;

const STEP_EXAMPLES = `
dreamdb ada-ivf-step photos --field embedding --split-above 2000 --merge-below 100
dreamdb ada-ivf-step photos --field embedding --imbalance 2 --dry-run
dreamdb ada-ivf-step photos --plan --field embedding --imbalance 2 --json
dreamdb ada-ivf-step photos --work 0/4 --of <plan> --json
dreamdb ada-ivf-step photos --collect <part>,<part>,<part>,<part> --of <plan> --json
dreamdb ada-ivf-step photos --publish --of <collection>`;

const STEP_DETAILS = `
Does all at once, or one of four stages: --plan, --work, --collect, --publish. Each prints an address that the next one takes with
--of; jobs on other machines may share --work. Until --publish nothing changes, and to repeat a stage is safe.
`;

interface StatusCliOptions extends CommonOptions {
  field: string;
  scan?: boolean;
  memoryMib?: number;
}

interface StepCliOptions extends CommonOptions {
  field?: string;
  splitAbove?: number;
  imbalance?: number;
  mergeBelow?: number;
  limit?: number;
  recentre?: number;
  neighbours?: number;
  reassignAbove?: number;
  sample?: number;
  iterations?: number;
  seed?: number;
  taskRows?: number;
  memoryMib?: number;
  dryRun?: boolean;
  plan?: boolean;
  work?: { shard: number; shards: number };
  collect?: Address[];
  publish?: boolean;
  of?: Address;
}

export function adaIvfStatusCommand(): Command {
  return command(
    "ada-ivf-status",
    "tell how the rows lie in the cells of an index: imbalance, density, drift",
    STATUS_EXAMPLES,
    STATUS_DETAILS,
  )
    .argument("<name>", "dataset, branch or snapshot")
    .requiredOption("--field <name>", "vector field with a built ivf index")
    .option(
      "--scan",
      "also look at every vector: how far rows are from their cells, and cells from their rows",
    )
    .option("--memory-mib <n>", "vectors held in memory at a time by --scan (default: 1024)", countFrom(1))
    .action(status);
}

export function adaIvfStepCommand(): Command {
  return command(
    "ada-ivf-step",
    "split the cells of an index that have too many rows, dissolve those with too few",
    STEP_EXAMPLES,
    STEP_DETAILS,
  )
    .argument("<name>", "dataset or branch")
    .option("--field <name>", "vector field with a built ivf index; all at once, and with --plan")
    .option("--split-above <rows>", "split cells with more rows", countFrom(1))
    .option("--imbalance <n>", "split cells with more than so many times the mean", numberOf)
    .option("--merge-below <rows>", "dissolve cells with fewer rows (default: none)", countFrom(0))
    .option(
      "--limit <n>",
      "cells split or dissolved at most, the largest first (default: no limit)",
      countFrom(1),
    )
    .option(
      "--recentre <n>",
      "cells near each part whose centroids are moved as well (default: 2)",
      countFrom(0),
    )
    .option(
      "--neighbours <n>",
      "further cells near each part whose rows may go there (default: 0)",
      countFrom(0),
    )
    .option(
      "--reassign-above <share>",
      "rewrite those that lose this share of their rows (default: 0.1)",
      numberOf,
    )
    .option("--sample <n>", "rows to train on, for each part (default: 128)", countFrom(1))
    .option("--iterations <n>", "rounds of k-means (default: 8)", countFrom(0))
    .option("--seed <n>", "chooses the sample; equal seeds give equal bytes (default: 0)", countFrom(0))
    .option("--task-rows <n>", "rows of a task, which jobs share (default: 64 MiB of vectors)", countFrom(1))
    .option("--memory-mib <n>", "vectors of late rows held in memory at a time (default: 1024)", countFrom(1))
    .option("--dry-run", "only tell what there is to do")
    .option("--plan", "stage 1: choose cells and store a plan")
    .option("--work <i/n>", "stage 2: job i of n, from 0, works off its share of the plan's tasks", shardOf)
    .option("--collect <parts>", "stage 3: put together what all jobs stored; addresses, with commas", listOf)
    .option("--publish", "stage 4: publish what was collected")
    .option("--of <address>", "the plan, with --work and --collect; the collection, with --publish")
    .action(step);
}

async function status(name: string, options: StatusCliOptions): Promise<void> {
  const output = new Output(options);
  const dataset = await Dataset.open(name, await existingBackend(options.backend));
  const { field, scan = false } = options;
  let bar: Progress | undefined;
  try {
    const found = await dataset.adaIvfStatus({
      ...{ field, scan, ...memoryOf(options) },
      onProgress: ({ done, total }) => {
        bar ??= new Progress({ label: "reading vectors", unit: "records", total, isQuiet: output.isQuiet });
        bar.update(done);
      },
    });
    bar?.stop();
    output.result({ name, ...found }, () => describeStatus(found, output));
  } finally {
    bar?.stop();
    await dataset.close();
  }
}

async function step(name: string, options: StepCliOptions): Promise<void> {
  const { plan, work, collect, publish } = options;
  const stages = Object.entries({ plan, work, collect, publish }).filter(([, value]) => value !== undefined);
  if (stages.length > 1)
    throw usage("stage", stages.map(([stage]) => `--${stage}`).join(" "), "one at a time");
  const output = new Output(options);
  const bars = new Stages(LABELS, output.isQuiet);
  const onProgress = (progress: AdaIvfProgress): void => bars.update(progress);
  const print = (result: object, text: () => [string, unknown][]): void => {
    bars.stop();
    output.result({ name, ...result }, () => pairs(text(), output.style));
  };
  const dataset = await Dataset.open(name, await existingBackend(options.backend));
  try {
    if (work !== undefined) {
      const done = await dataset.adaIvfWork({ plan: given(options.of), ...work, onProgress });
      print(done, () => [
        ["part", done.part],
        ["tasks", done.tasks],
        ["rows", `${done.rows} looked at, ${done.movedRows} moved, ${done.writtenRows} written`],
      ]);
    } else if (collect !== undefined) {
      const done = await dataset.adaIvfCollect({ plan: given(options.of), parts: collect, onProgress });
      print(done, () => [
        ["collection", done.collection],
        ["segments", `${done.segmentsKept} kept, ${done.segmentsNew} new`],
        ["rows", `${done.movedRows} moved, ${done.writtenRows} written`],
      ]);
    } else if (publish === true) {
      const done = await dataset.adaIvfPublish({
        collection: given(options.of),
        ...memoryOf(options),
        onProgress,
      });
      print(done, () => publishedFacts(done));
    } else if (plan === true) {
      const done = await dataset.adaIvfPlan({ ...boundsOf(options), onProgress });
      print(done, () => planFacts(done));
    } else {
      const { dryRun = false } = options;
      const how = { ...boundsOf(options), ...memoryOf(options), dryRun, onProgress };
      const done = await dataset.adaIvfStep(how);
      print({ dryRun, ...done }, () => [...planFacts(done), ...publishedFacts(done)]);
    }
  } finally {
    bars.stop();
    await dataset.close();
  }
}

/** What is to be planned. */
function boundsOf(options: StepCliOptions): AdaIvfOptions {
  const { field, splitAbove, imbalance, mergeBelow, limit, recentre, neighbours, reassignAbove } = options;
  const { sample, iterations, seed, taskRows } = options;
  if (field === undefined) throw usage("field", "no --field", "the vector field");
  const bounds = { splitAbove, imbalance, mergeBelow, limit, recentre, neighbours, reassignAbove };
  const all = Object.entries({ ...bounds, sample, iterations, seed, taskRows });
  return { field, ...Object.fromEntries(all.filter(([, value]) => value !== undefined)) };
}

function memoryOf({ memoryMib }: { memoryMib?: number }): { memoryBytes?: number } {
  return memoryMib === undefined ? {} : { memoryBytes: memoryMib * 2 ** 20 };
}

function given(of: Address | undefined): Address {
  if (of !== undefined) return of;
  throw usage("of", "no --of", "the address that the stage before printed");
}

function planFacts(done: AdaIvfPlan): [string, unknown][] {
  const rowsOf = (cells: { rows: number }[]): number => cells.reduce((sum, { rows }) => sum + rows, 0);
  const parts = done.splits.reduce((sum, each) => sum + each.parts, 0);
  const facts: [string, unknown][] = [
    ["to split", `${plural(done.splits.length, "cell")} of ${rowsOf(done.splits)} rows into ${parts}`],
    ["to dissolve", `${plural(done.merges.length, "cell")} of ${rowsOf(done.merges)} rows`],
    ["to recentre", plural(done.recentred.length, "cell")],
    ["cells", `${done.cellsBefore} → ${done.cells}`],
    ["imbalance before", done.imbalance.toFixed(2)],
    ["tasks", `${done.tasks}, of ${done.rows} rows`],
  ];
  if (done.unsplittable.length > 0) facts.push(["can't be split", done.unsplittable.join(", ")]);
  if (done.plan !== undefined) facts.unshift(["plan", done.plan]);
  return facts;
}

function publishedFacts(done: Partial<AdaIvfStep>): [string, unknown][] {
  if (done.manifest === undefined) return [["published", "nothing"]];
  return [
    ["manifest", done.manifest],
    ["rows", `${done.movedRows} moved, ${done.writtenRows} written`],
    ["bytes written", done.writtenBytes],
    ["segments", plural(done.segments as number, "object")],
    ["imbalance", `${(done.imbalance as number).toFixed(2)} (rows of the largest cell / mean)`],
  ];
}

function describeStatus(found: AdaIvfStatus, output: Output): string {
  const { density, scan } = found;
  const facts: [string, unknown][] = [
    ["index", found.algorithm],
    ["cells", `${found.cells}, ${found.usedCells} with rows`],
    ["rows", `${found.rows} in cells, ${found.unindexedRows} in none`],
    ["imbalance", `${found.imbalance.toFixed(2)} (rows of the largest cell / mean)`],
    [
      "rows of a cell",
      `${density.least} least, ${density.p10} p10, ${density.median} median, ${density.p90} p90, ${density.most} most, ${density.mean.toFixed(1)} mean`,
    ],
    ["drift", `${found.drift.toFixed(3)} of ${plural(found.appendedRows, "row")} appended since`],
    ["segments", `${plural(found.segments, "object")}, ${found.fragments} runs`],
    ["earlier indexes", `${found.earlierIndexes}, with ${found.hiddenRows} rows that count no more`],
  ];
  if (scan !== undefined)
    facts.push(
      ["misplaced", `${plural(scan.misplacedRows, "row")} with a nearer cell`],
      ["shift", `${scan.shift.toFixed(3)} of a row's distance, which squared is ${scan.error.toFixed(4)}`],
    );
  return pairs(facts, output.style);
}

const LABELS: Record<AdaIvfProgress["stage"], { label: string; unit: string }> = {
  plan: { label: "splitting", unit: "cells" },
  work: { label: "sorting into cells", unit: "tasks" },
  collect: { label: "collecting", unit: "segments" },
  publish: { label: "publishing", unit: "" },
};

function numberOf(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw new InvalidArgumentError("Expected a number.");
}

function shardOf(text: string): { shard: number; shards: number } {
  const [, shard, shards] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  if (shard !== undefined && Number(shard) < Number(shards))
    return { shard: Number(shard), shards: Number(shards) };
  throw new InvalidArgumentError("Expected a job's number from 0 and their count, such as 0/4.");
}

function listOf(text: string): Address[] {
  return text.split(",").filter((part) => part !== "");
}

function usage(field: string, found: string, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "not a step like this", {
    field,
    found,
    expected,
    committed: "no",
  });
}
