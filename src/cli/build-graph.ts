import type { Command } from "commander";
import { type BuildGraphProgress, type BuildGraphResult, Dataset } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { describeBuild } from "./dry-run.ts";
import { Progress } from "./progress.ts";
import { pairs } from "./table.ts";
import { bytesText, plural } from "./text.ts";

const EXAMPLES = `
dreamdb build-graph photos --field embedding
dreamdb build-graph photos --field embedding --degree 48 --candidates 400 --json`;

interface BuildOptions extends CommonOptions {
  field: string;
  degree?: number;
  candidates?: number;
  seed?: number;
  memoryMib?: number;
  dryRun?: boolean;
}

export function buildGraphCommand(): Command {
  return command("build-graph", "link every record to those near it by a vector field", EXAMPLES)
    .argument("<name>", "dataset or branch")
    .requiredOption("--field <name>", "vector field with dreamdb.vamana-cosine or -l2")
    .option("--degree <n>", "neighbours of a record at most, a multiple of 4 (default: 64)", countFrom(1))
    .option("--candidates <n>", "nearest records that those are chosen among (default: 250)", countFrom(1))
    .option("--seed <n>", "chooses the sample; equal seeds give equal bytes (default: 0)", countFrom(0))
    .option("--memory-mib <n>", "memory that the build may take (default: 3072)", countFrom(1))
    .option("--dry-run", "only tell what would be built, or what stands in the way")
    .action(build);
}

async function build(name: string, options: BuildOptions): Promise<void> {
  const output = new Output(options);
  const { field, degree, candidates, seed, memoryMib } = options;
  const given = Object.entries({ degree, candidates, seed }).filter(([, value]) => value !== undefined);
  const dataset = await Dataset.open(name, await existingBackend(options.backend));
  if (options.dryRun === true) {
    await describeBuild(
      name,
      field,
      dataset,
      ({ algorithm }) => algorithm.startsWith("dreamdb.vamana-"),
      output,
    );
    return dataset.close();
  }
  const bar = new Progress({ label: "linking", unit: "‰", total: 1000, isQuiet: output.isQuiet });
  try {
    const result = await dataset.buildGraph({
      field,
      ...Object.fromEntries(given),
      ...(memoryMib === undefined ? {} : { memoryBytes: memoryMib * 2 ** 20 }),
      onProgress: ({ stage, done }: BuildGraphProgress) => {
        if (stage === "build") bar.update(done);
      },
    });
    bar.stop();
    output.result({ name, ...result }, () => describe(result, output));
  } finally {
    bar.stop();
    await dataset.close();
  }
}

function describe({ manifest, nodes, degree, pages, bytes, late }: BuildGraphResult, output: Output): string {
  const facts: [string, unknown][] = [
    ["manifest", manifest],
    ["records in the graph", nodes],
    ["neighbours at most", degree],
    ["stored", `${bytesText(bytes)} in ${plural(pages, "page")}`],
    ["appended meanwhile", late],
  ];
  return pairs(facts, output.style);
}
