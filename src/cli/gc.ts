import { type Command, InvalidArgumentError } from "commander";
import { type GcProgress, type GcResult, gc } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { Stages } from "./progress.ts";
import { pairs } from "./table.ts";
import { bytesText, plural } from "./text.ts";

const EXAMPLES = `
dreamdb gc --dry-run
dreamdb gc
dreamdb gc --backend s3://my-bucket/photos --keep-manifests 100 --keep-since 7d
dreamdb gc --age 1h --shard "$JOB_COMPLETION_INDEX/8" --json --quiet`;

const DETAILS = `
Deletes objects that no branch, snapshot or pin reaches. The first run only lists them; a run at least --age later deletes what
is still not needed, and lists anew: let it run every day. Writers and readers go on meanwhile. --age must be longer than any append
or rebuild takes, and than readers may need of a state that has no ref.

Durations are a number and s, m, h, d or w, such as 90m or 7d.
`;

const DAY_MS = 86_400_000;
const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: DAY_MS, w: 7 * DAY_MS };

interface GcCliOptions extends CommonOptions {
  age?: number;
  keepManifests?: number;
  keepSince?: number;
  shard?: { index: number; count: number };
  dryRun?: boolean;
}

export function gcCommand(): Command {
  return command("gc", "delete objects that nothing reaches any more", EXAMPLES, DETAILS)
    .option(
      "--age <duration>",
      "how long what is listed stays; 0s: it is deleted at once (default: 24h)",
      duration,
    )
    .option(
      "--keep-manifests <n>",
      "of each branch, keep the data of the latest n states only; of older ones the history stays (default: all)",
      countFrom(1),
    )
    .option(
      "--keep-since <duration>",
      "keep the data of states published since then only; with --keep-manifests, what either keeps (default: all)",
      duration,
    )
    .option(
      "--shard <i/n>",
      "delete only part i of n, from 0: each may be a job of its own (default: all)",
      shard,
    )
    .option("--dry-run", "only tell what would be listed")
    .action(run);
}

function duration(text: string): number {
  const [, count, unit] = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text) ?? [];
  if (count !== undefined && unit !== undefined) return Number(count) * (UNITS[unit] as number);
  throw new InvalidArgumentError("Expected a duration such as 90m, 24h or 7d.");
}

function shard(text: string): { index: number; count: number } {
  const [, index, count] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  const found = { index: Number(index), count: Number(count) };
  if (index !== undefined && found.index < found.count && found.count <= 1024) return found;
  throw new InvalidArgumentError("Expected i/n, with i from 0 to n − 1 and n up to 1024.");
}

async function run(options: GcCliOptions): Promise<void> {
  const output = new Output(options);
  const { age = DAY_MS, keepManifests, keepSince, shard, dryRun = false } = options;
  const backend = await existingBackend(options.backend);
  const stages = new Stages(LABELS, output.isQuiet);
  try {
    const found = await gc(backend, {
      ageMs: age,
      ...(keepManifests === undefined ? {} : { keepManifests }),
      ...(keepSince === undefined ? {} : { keepSinceMs: keepSince }),
      ...(shard === undefined ? {} : { shard }),
      dryRun,
      onProgress: (progress) => stages.update(progress),
    });
    stages.stop();
    output.result({ dryRun, ...found }, () => describe(found, dryRun, output));
  } finally {
    stages.stop();
  }
}

const LABELS: Record<GcProgress["stage"], { label: string; unit: string }> = {
  fence: { label: "looking at refs", unit: "refs" },
  mark: { label: "marking", unit: "objects" },
  list: { label: "listing", unit: "objects" },
  delete: { label: "deleting", unit: "objects" },
};

function describe(found: GcResult, dryRun: boolean, output: Output): string {
  const { refs, pins, marked, pruned, condemned, condemnedBytes, spared, deleted, reclaimedBytes, due } =
    found;
  const facts: [string, unknown][] = [["roots", `${plural(refs, "ref")}, ${plural(pins, "pin")}`]];
  if (marked > 0) facts.push(["in use", plural(marked, "object")]);
  const listed = `${plural(condemned, "object")}, ${bytesText(condemnedBytes)}`;
  facts.push([dryRun ? "would be listed" : "newly listed", listed]);
  if (spared > 0) facts.push(["needed again", plural(spared, "object")]);
  if (!dryRun) facts.push(["deleted", `${plural(deleted, "object")}, ${bytesText(reclaimedBytes)}`]);
  if (pruned > 0) facts.push(["states without data", pruned]);
  if (due !== undefined) facts.push(["deletes from", new Date(Number(due / 1_000_000n)).toISOString()]);
  return pairs(facts, output.style);
}
