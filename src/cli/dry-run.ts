/** `--dry-run` of verbs that build an index: what would be built of what, and what stands in the way. */
import { type Dataset, DreamDBError, type EmbeddingField } from "../index.node.ts";
import type { Output } from "./command.ts";
import { plural } from "./text.ts";

/** Errors: `InvalidArgument` for a field that has no such index. */
export async function describeBuild(
  name: string,
  fieldName: string,
  dataset: Dataset,
  isFit: (field: EmbeddingField) => boolean,
  output: Output,
): Promise<void> {
  const field = dataset.schema.fields.find((each) => each.name === fieldName);
  if (field?.kind !== "embedding" || !isFit(field)) {
    throw new DreamDBError("InvalidArgument", "this field has no index of that kind", {
      field: "field",
      found:
        field === undefined
          ? fieldName
          : `${fieldName}, ${field.kind === "embedding" ? field.algorithm : field.kind}`,
      expected: "a vector field whose algorithm is built like this",
    });
  }
  if (!dataset.isWritable)
    throw new DreamDBError("ReadOnly", "a snapshot can't be written", { field: "name", found: name });
  const { rows, tracks } = await dataset.health();
  const now = tracks.find((track) => track.field === fieldName);
  output.result(
    { name, dryRun: true, field: fieldName, records: rows, manifest: dataset.currentManifest(), now },
    () => `would build the index of ${fieldName} from ${plural(rows, "record")}`,
  );
}
