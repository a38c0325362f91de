import { type Command, InvalidArgumentError } from "commander";
import { type FsckReport, fsck } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, countFrom, Output } from "./command.ts";
import { ExitCode } from "./exit-code.ts";
import { Progress } from "./progress.ts";
import { table } from "./table.ts";
import { bytesText, plural } from "./text.ts";

const EXAMPLES = `
dreamdb fsck
dreamdb fsck --backend /data/store --json --quiet || echo "damage: exit code $?"
dreamdb fsck --backend s3://my-bucket/photos --sample 0.05 --seed "$(date +%j)"
dreamdb fsck --purged --json > proof.json`;

const DETAILS = `
With --purged it also looks for what purges left: in all that refs reach, rows of deleted anchors; and in the rest of the backend, data
that nothing reaches, of which nobody can say whose they are. Compact with --purge, collect garbage, and ask again.
`;

interface FsckCliOptions extends CommonOptions {
  purged?: boolean;
  sample: number;
  seed: number;
}

export function fsckCommand(): Command {
  return command(
    "fsck",
    "read and check everything that refs reach; exit code 5 when something is wrong",
    EXAMPLES,
    DETAILS,
  )
    .option(
      "--sample <share>",
      "share of the data objects to read whole, 0 to 1; of the others head and length are checked, and metadata always",
      share,
      1,
    )
    .option(
      "--purged",
      "prove that nothing of deleted records is left; exit code 5 when something is, or may be",
    )
    .option("--seed <n>", "chooses the sample; equal seeds choose the same objects", countFrom(0), 0)
    .action(check);
}

function share(text: string): number {
  const value = /^(\d+(\.\d+)?|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError("Expected a share from 0 to 1.");
}

async function check(options: FsckCliOptions): Promise<void> {
  const output = new Output(options);
  const backend = await existingBackend(options.backend);
  const progress = new Progress({ label: "checking", unit: "objects", isQuiet: output.isQuiet });
  try {
    const found = await fsck(backend, {
      sample: options.sample,
      seed: options.seed,
      ...(options.purged === true ? { purged: true } : {}),
      onProgress: ({ objects, bytes }) => progress.update(objects, bytesText(bytes)),
    });
    progress.stop();
    output.result(found, () => describe(found, output));
    if (!found.ok) process.exitCode = ExitCode.damage;
  } finally {
    progress.stop();
  }
}

function describe(found: FsckReport, output: Output): string {
  const { refs, pins, pruned, objects, bytes, rows, deleted, data, dataRead, unreachable, problems, purge } =
    found;
  const lines: string[] = [];
  if (purge !== undefined && purge.remaining.length > 0) {
    const columns = [{ title: "remains" }, { title: "why" }, { title: "key" }];
    const rows = purge.remaining.map(({ what, why, key }) => [what, why, key]);
    lines.push(table(columns, rows, output.style), "");
  }
  if (problems.length > 0) {
    const columns = [{ title: "problem" }, { title: "key" }];
    lines.push(
      table(
        columns,
        problems.map(({ code, key }) => [code, key.slice(key.lastIndexOf("/") + 1)]),
        output.style,
      ),
    );
    lines.push("", ...problems.map(({ key, message }) => `${key}: ${message}`), "");
  }
  lines.push(
    `checked ${plural(refs, "ref")}, ${plural(objects, "object")}, ${bytesText(bytes)}, ${plural(rows, "record")} in all`,
  );
  if (deleted > 0) lines.push(`deleted: ${plural(deleted, "anchor")}, which may be among these records`);
  if (pins > 0) lines.push(`and what ${plural(pins, "pin")} ${pins === 1 ? "names" : "name"}`);
  if (pruned > 0) lines.push(`${plural(pruned, "past state")} without data, as dreamdb gc left them`);
  if (dataRead < data)
    lines.push(`read whole: ${dataRead} of ${plural(data, "data object")}, the others head and length`);
  if (unreachable > 0)
    lines.push(
      `${plural(unreachable, "unreachable object")}: leftovers of writes, deleted refs and pruned states, no fault; dreamdb gc deletes them`,
    );
  if (purge !== undefined) {
    const { looked, remaining } = purge;
    const left = plural(remaining.length, "object");
    lines.push(
      remaining.length === 0
        ? `purged: nothing of deleted records in ${plural(looked, "batch or segment")}, and no other data`
        : output.style.red(`not purged: ${left} may hold deleted records`),
    );
  }
  if (refs === 0) lines.push("there are no refs here, so there was nothing to check");
  lines.push(
    problems.length === 0 ? "no damage" : output.style.red(`${plural(problems.length, "problem")} found`),
  );
  return lines.join("\n");
}
