import type { Command } from "commander";
import { Dataset, type EmbeddingField, type RebuildProgress, type RebuildResult } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { describeBuild } from "./dry-run.ts";
import { Stages } from "./progress.ts";
import { pairs } from "./table.ts";
import { plural } from "./text.ts";

const REBUILD_EXAMPLES = `
dreamdb rebuild-ivf photos --field embedding
dreamdb rebuild-ivf photos --field embedding --k 2048 --iterations 12 --workers 4 --json`;

const PUBLISH_EXAMPLES = `
dreamdb publish-rabitq photos --field embedding --bits 6
dreamdb publish-rabitq photos --field embedding --bits 1 --json`;

const PUBLISH_PQ_EXAMPLES = `
dreamdb publish-pq photos --field embedding --subspaces 64
dreamdb publish-pq photos --field embedding --subspaces 128 --bits 4 --json`;

interface RebuildOptions extends CommonOptions {
  field: string;
  k?: number;
  sample?: number;
  iterations?: number;
  seed?: number;
  memoryMib?: number;
  workers: number;
}

interface PublishOptions extends CommonOptions {
  field: string;
  bits: number;
  memoryMib?: number;
  workers: number;
}

export function rebuildIvfCommand(): Command {
  return command(
    "rebuild-ivf",
    "train the cells of a vector field and sort every record into them",
    REBUILD_EXAMPLES,
  )
    .argument("<name>", "dataset or branch")
    .requiredOption("--field <name>", "vector field with an ivf index")
    .option("--k <n>", "cells (default: 2.5 · √records)", countFrom(1))
    .option("--sample <n>", "records to train on (default: 64 a cell)", countFrom(1))
    .option("--iterations <n>", "rounds of k-means (default: 8)", countFrom(0))
    .option("--seed <n>", "chooses the sample; equal seeds give equal bytes (default: 0)", countFrom(0))
    .option("--memory-mib <n>", "vectors held in memory at a time (default: 1024)", countFrom(1))
    .option("--workers <n>", "threads that do the work; none: the main thread", countFrom(0), 0)
    .option("--dry-run", "only tell what would be built, or what stands in the way")
    .action((name: string, options: RebuildOptions) => {
      const { field, k, sample, iterations, seed } = options;
      const given = Object.entries({ k, sample, iterations, seed }).filter(
        ([, value]) => value !== undefined,
      );
      return run(name, options, (dataset, shared) =>
        dataset.rebuildIvf({ field, ...Object.fromEntries(given), ...shared }),
      );
    });
}

export function publishRabitqCommand(): Command {
  return command(
    "publish-rabitq",
    "give the cells of a vector field RaBitQ codes of so many bits",
    PUBLISH_EXAMPLES,
  )
    .argument("<name>", "dataset or branch")
    .requiredOption("--field <name>", "vector field with an ivf index")
    .option("--bits <n>", "bits a component, 1 to 8", countFrom(1), 4)
    .option("--memory-mib <n>", "vectors held in memory at a time (default: 1024)", countFrom(1))
    .option("--workers <n>", "threads that do the work; none: the main thread", countFrom(0), 0)
    .option("--dry-run", "only tell what would be built, or what stands in the way")
    .action((name: string, options: PublishOptions) =>
      run(name, options, (dataset, shared) =>
        dataset.publishCompressor({ field: options.field, bits: options.bits, ...shared }),
      ),
    );
}

export function publishPqCommand(): Command {
  return command(
    "publish-pq",
    "give the cells of a vector field PQ codes, with codebooks trained on it",
    PUBLISH_PQ_EXAMPLES,
  )
    .argument("<name>", "dataset or branch")
    .requiredOption("--field <name>", "vector field with an ivf index")
    .requiredOption("--subspaces <n>", "parts that a vector is cut into", countFrom(1))
    .option("--bits <n>", "bits a part, 4 or 8", countFrom(1), 8)
    .option("--seed <n>", "chooses the sample; equal seeds give equal bytes", countFrom(0), 0)
    .option("--memory-mib <n>", "vectors held in memory at a time (default: 1024)", countFrom(1))
    .option("--workers <n>", "threads that do the work; none: the main thread", countFrom(0), 0)
    .option("--dry-run", "only tell what would be built, or what stands in the way")
    .action((name: string, options: PublishOptions & { subspaces: number; seed: number }) => {
      const { field, bits, subspaces, seed } = options;
      return run(name, options, (dataset, shared) =>
        dataset.publishCompressor({ algorithm: "pq", field, bits, subspaces, seed, ...shared }),
      );
    });
}

interface Shared {
  memoryBytes?: number;
  onProgress: (progress: RebuildProgress) => void;
}

async function run(
  name: string,
  options: CommonOptions & { field: string; memoryMib?: number; workers: number; dryRun?: boolean },
  verb: (dataset: Dataset, shared: Shared) => Promise<RebuildResult>,
): Promise<void> {
  const output = new Output(options);
  const { workers } = options;
  const dataset = await Dataset.open(name, await existingBackend(options.backend), { workers });
  const stages = new Stages(LABELS, output.isQuiet);
  try {
    if (options.dryRun === true) return await describeBuild(name, options.field, dataset, hasCells, output);
    const result = await verb(dataset, {
      ...(options.memoryMib === undefined ? {} : { memoryBytes: options.memoryMib * 2 ** 20 }),
      onProgress: (progress) => stages.update(progress),
    });
    stages.stop();
    output.result({ name, ...result }, () => describe(result, output));
  } finally {
    stages.stop();
    await dataset.close();
  }
}

function hasCells({ algorithm }: EmbeddingField): boolean {
  return algorithm.startsWith("dreamdb.ivf-") || algorithm.startsWith("dreamdb.imi-");
}

const LABELS: Record<RebuildProgress["stage"], { label: string; unit: string }> = {
  sample: { label: "sampling", unit: "records" },
  train: { label: "training", unit: "assignments" },
  encode: { label: "sorting into cells", unit: "records" },
};

function describe({ manifest, cells, rows, segments, imbalance }: RebuildResult, output: Output): string {
  const facts: [string, unknown][] = [
    ["manifest", manifest],
    ["records in cells", rows],
    ["cells", cells],
    ["segments", plural(segments, "object")],
    ["imbalance", `${imbalance.toFixed(2)} (rows of the largest cell / mean)`],
  ];
  return pairs(facts, output.style);
}
