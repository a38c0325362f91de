/** `updateSchema`: another schema for what is there and what comes, without a record written anew (spec/0001-data-model.md §6). */
import { type Address, addressOf } from "../core/address.ts";
import { clampTick } from "../core/time.ts";
import { DreamDBError } from "../errors.ts";
import { openBlock } from "../objects/column.ts";
import type { FieldSpec } from "../objects/field.ts";
import { batchCodec, emptyIndex, type NewPage } from "../objects/index-tree.ts";
import type { Manifest, Track } from "../objects/manifest.ts";
import { encodeSpatialIndex, type SpatialIndex } from "../objects/spatial-index.ts";
import type { AppendTarget } from "./append.ts";
import { type Draft, publish } from "./commit.ts";
import type { Cancellable } from "./context.ts";
import { type FieldChange, fieldChanges } from "./diff.ts";
import { ColumnReader } from "./rows.ts";
import type { Schema } from "./schema.ts";
import { startingIndex } from "./starting-index.ts";
import { anchorsOf, entriesIn } from "./timeline.ts";
import type { Tip } from "./tip.ts";

export interface UpdateSchemaOptions extends Cancellable {
  /** Names of all fields that the new schema leaves out. One that it leaves out without being named here is refused. */
  drop?: readonly string[];
  /** Only tells what would change, or what stands in the way. Default false. */
  dryRun?: boolean;
}

export interface SchemaUpdate {
  /** The state of now: the one before, when nothing was to change. */
  manifest: Address;
  changes: FieldChange[];
  isDryRun: boolean;
}

/**
 * Publishes a state with this schema. Errors: `SchemaViolation` for a change that can't be made, `InvalidArgument`, `Conflict`,
 * `StoreUnavailable`, `CommitUnknown`. After any but the last nothing changed.
 */
export async function updateSchema(
  target: AppendTarget,
  tip: Tip,
  schema: Schema,
  { drop = [], dryRun = false }: UpdateSchemaOptions,
): Promise<{ tip: Tip; result: SchemaUpdate }> {
  const { ctx, name } = target;
  if (!Array.isArray((schema as Schema | undefined)?.fields) || schema.fields.length === 0)
    throw violation("schema", schema, "new Schema().add…(…), with at least one field");
  if (!Array.isArray(drop)) throw violation("drop", drop, "names of fields");
  let changes: FieldChange[] = [];
  const draftOn = async (current: Tip): Promise<Draft | undefined> => {
    const { manifest } = current;
    const { fields, nextFieldId } = fieldsAfter(manifest, schema, drop);
    changes = fieldChanges(manifest.fields, fields);
    const isReordered = fields.some(({ id }, i) => manifest.fields[i]?.id !== id);
    if (changes.length === 0 && !isReordered) return undefined;
    await checkRequired(target, manifest, fields);
    const { tracks, objects } = await tracksAfter(target, manifest, schema, fields);
    const next: Manifest = {
      ...manifest,
      parents: [current.address],
      seq: manifest.seq + 1,
      ts: clampTick(ctx.clock() - target.origin),
      writer: ctx.writer,
      opId,
      op: "schema-update",
      fields,
      nextFieldId,
      tracks,
    };
    return { manifest: next, objects };
  };
  const opId = ctx.random(16);
  if (dryRun) {
    await draftOn(tip);
    return { tip, result: { manifest: tip.address, changes, isDryRun: true } };
  }
  const published = await publish(ctx, name, tip, { opId, draft: draftOn });
  return { tip: published.tip, result: { manifest: published.own.address, changes, isDryRun: false } };
}

/** The fields of the new schema with the ids of those that there are, and new ones for the others. */
function fieldsAfter(
  { fields: before, nextFieldId }: Manifest,
  schema: Schema,
  drop: readonly string[],
): { fields: FieldSpec[]; nextFieldId: number } {
  let next = nextFieldId;
  const fields = schema.fields.map((wanted) => {
    const old = before.find(({ name }) => name === wanted.name);
    if (old === undefined) return { ...wanted, id: next++ };
    if (schema.spatialIndexes.has(wanted.id))
      throw violation(
        `${old.name}.spatialIndex`,
        "another index",
        "none: a field that is there keeps its own",
      );
    return changed(old, wanted);
  });
  for (const name of drop) {
    if (!before.some((field) => field.name === name))
      throw violation("drop", name, `one of ${before.map((field) => field.name).join(", ")}`);
    if (fields.some((field) => field.name === name))
      throw violation("drop", name, "a field that the new schema leaves out");
  }
  const left = before.find(
    ({ name }) => !drop.includes(name) && !fields.some((field) => field.name === name),
  );
  if (left !== undefined) throw violation(left.name, "left out", "kept, or named in `drop`");
  return { fields, nextFieldId: next };
}

/** What of a field stays as it is for good: its values, and its cells, are of this form. */
const FIXED = ["kind", "dim", "algorithm", "lshBits", "lshTables"] as const;

function changed(old: FieldSpec, wanted: FieldSpec): FieldSpec {
  const [a, b] = [old, wanted] as unknown as Record<string, unknown>[];
  for (const property of FIXED)
    if (a?.[property] !== b?.[property])
      throw violation(
        `${old.name}.${property}`,
        b?.[property],
        `${a?.[property]}; drop it and add another field`,
      );
  // What a schema does not say of codes stays as it is.
  const compressor = "compressor" in old && !("compressor" in wanted) ? { compressor: old.compressor } : {};
  return { ...wanted, ...compressor, id: old.id } as FieldSpec;
}

/** Errors: `SchemaViolation` when a record lacks what is required from now on. */
async function checkRequired(
  target: AppendTarget,
  manifest: Manifest,
  fields: readonly FieldSpec[],
): Promise<void> {
  for (const field of fields) {
    const old = manifest.fields.find(({ id }) => id === field.id);
    if (!field.required || old?.required === true) continue;
    const anchor = await lacking(target, manifest, field);
    if (anchor === undefined) continue;
    throw violation(`${field.name}.required`, `no value at anchor ${anchor}`, "a value in every record");
  }
}

/** The first record without a value of the field. */
async function lacking(
  { ctx, space, origin }: AppendTarget,
  manifest: Manifest,
  field: FieldSpec,
): Promise<bigint | undefined> {
  const { session } = ctx;
  const { deleted } = await space.get(session);
  for await (const entry of entriesIn(session, manifest.timeline, batchCodec)) {
    const reader = await ColumnReader.open(session, field, entry, true);
    if (reader !== undefined && !reader.head.hasPresence) continue;
    const anchors = await anchorsOf(session, entry);
    const isLacking = (row: number): boolean => !deleted.has(anchors.tick(row));
    if (reader === undefined) {
      for (let row = 0; row < entry.rows; row++) if (isLacking(row)) return anchors.tick(row) + origin;
      continue;
    }
    const { head, opened } = reader;
    for (const block of head.blocks) {
      const [bytes] = await session.spans(opened, [block], false);
      const rows = openBlock(head, block, bytes as Uint8Array);
      for (let i = 0; i < block.rows; i++)
        if (!rows.isPresent(i) && isLacking(block.firstRow + i))
          return anchors.tick(block.firstRow + i) + origin;
    }
  }
  return undefined;
}

/** A Track for each vector field: those that there are, and the index that a new field begins with. */
async function tracksAfter(
  { ctx }: AppendTarget,
  manifest: Manifest,
  schema: Schema,
  fields: readonly FieldSpec[],
): Promise<{ tracks: Map<number, Track>; objects: NewPage[] }> {
  const tracks = new Map<number, Track>();
  const objects: NewPage[] = [];
  for (const field of fields) {
    if (field.kind !== "embedding") continue;
    const old = manifest.tracks.get(field.id);
    if (old !== undefined) {
      tracks.set(field.id, old);
      continue;
    }
    const declared = schema.fields.find(({ name }) => name === field.name);
    const start = declared && schema.spatialIndexes.get(declared.id);
    const spatialIndex: SpatialIndex = await startingIndex(ctx, field, start);
    const bytes = encodeSpatialIndex(spatialIndex);
    const address = addressOf(bytes);
    objects.push({ address, bytes });
    tracks.set(field.id, { address, spatialIndex, segments: emptyIndex() });
  }
  return { tracks, objects };
}

function violation(field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("SchemaViolation", "the schema can't be changed like this; nothing was", {
    field,
    found,
    expected,
    committed: "no",
  });
}
