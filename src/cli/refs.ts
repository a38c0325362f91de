import type { Command } from "commander";
import { DreamDBError, deleteRef, listRefs, protectRef, type RefEntry } from "../index.node.ts";
import { existingBackend } from "./backend.ts";
import { type CommonOptions, command, Output } from "./command.ts";
import { table } from "./table.ts";

const EXAMPLES = `
dreamdb refs
dreamdb refs --backend /data/store --json
dreamdb refs --delete worker-0
dreamdb refs --protect photos
dreamdb refs --unprotect photos`;

const COLUMNS = [
  { title: "name" },
  { title: "type" },
  { title: "seq", align: "right" as const },
  { title: "manifest" },
];

export function refsCommand(): Command {
  return command("refs", "list datasets, branches and snapshots; delete or protect one", EXAMPLES)
    .option("--delete <name>", "delete a ref; its name can't be used again, and no object is removed")
    .option("--manifest <address>", "with --delete: only while the ref names this state")
    .option("--protect <name>", "refuse to delete a ref from now on")
    .option("--unprotect <name>", "allow to delete a ref again")
    .option("--names", "print only names, a line each")
    .option("--dry-run", "with --delete, --protect or --unprotect: only tell whether it could be done")
    .action(refs);
}

interface RefsOptions extends CommonOptions {
  delete?: string;
  manifest?: string;
  protect?: string;
  unprotect?: string;
  names?: boolean;
  dryRun?: boolean;
}

async function refs(options: RefsOptions): Promise<void> {
  const output = new Output(options);
  const changes = [options.delete, options.protect, options.unprotect].filter((name) => name !== undefined);
  if (changes.length > 1 || (options.manifest !== undefined && options.delete === undefined)) throw unclear();
  if (changes.length === 1) return change(options, output);
  const found = await listRefs(await existingBackend(options.backend));
  output.result({ refs: found }, () => {
    if (options.names === true) return found.map(({ name }) => name).join("\n");
    if (found.length === 0) return "no datasets yet";
    return table(
      COLUMNS,
      found.map((ref) => [ref.name, typeName(ref), ref.seq, ref.manifest]),
      output.style,
    );
  });
}

async function change(options: RefsOptions, output: Output): Promise<void> {
  const backend = await existingBackend(options.backend);
  if (options.dryRun === true) return tryChange(backend, options, output);
  if (options.delete !== undefined) {
    const { manifest } = options;
    const done = await deleteRef(backend, options.delete, manifest === undefined ? {} : { manifest });
    output.result({ ...done, deleted: true }, () => `deleted ${done.name}, which named ${done.manifest}`);
    return;
  }
  const isProtected = options.protect !== undefined;
  const done = await protectRef(backend, (options.protect ?? options.unprotect) as string, isProtected);
  const text = isProtected ? "can't be deleted now" : "can be deleted now";
  output.result({ ...done, protected: isProtected }, () => `${done.name} ${text}`);
}

/** Says of one change what stands in the way, as the change itself would. */
async function tryChange(backend: string, options: RefsOptions, output: Output): Promise<void> {
  const name = (options.delete ?? options.protect ?? options.unprotect) as string;
  const found = (await listRefs(backend)).find((ref) => ref.name === name);
  if (found === undefined)
    throw new DreamDBError("NotFound", "no branch or snapshot has this name", { field: "name", found: name });
  if (options.delete !== undefined && found.protected === true)
    throw new DreamDBError("ReadOnly", "a protected ref can't be deleted", { field: "name", found: name });
  if (options.manifest !== undefined && options.manifest !== found.manifest)
    throw new DreamDBError("Conflict", "the ref names another state", {
      field: name,
      found: found.manifest,
      expected: options.manifest,
    });
  const verb =
    options.delete !== undefined ? "delete" : options.protect !== undefined ? "protect" : "unprotect";
  output.result(
    { name, dryRun: true, change: verb, manifest: found.manifest },
    () => `would ${verb} ${name}`,
  );
}

function unclear(): DreamDBError {
  return new DreamDBError("InvalidArgument", "one change at a time", {
    field: "options",
    expected: "one of --delete (perhaps with --manifest), --protect and --unprotect",
  });
}

function typeName(ref: RefEntry): string {
  const type = ref.type === "tag" ? "snapshot" : ref.type;
  return ref.protected ? `${type}, protected` : type;
}
