import { type DreamDBSpace, Media, type TrackInfo } from "@dreamlake/dreamdb/space";

/** A record as it is shown. */
export interface Row {
  anchor: bigint;
  /** Scalars by field name. */
  values: Readonly<Record<string, unknown>>;
  /** Its pictures and the like, by field name. */
  media: ReadonlyMap<string, Media>;
}

/** A record out of what the library gives: media become `Media`, which know what a page may show. */
export function rowOf(anchor: bigint, values: Record<string, unknown>, tracks: readonly TrackInfo[]): Row {
  const media = new Map<string, Media>();
  // Fields may have any name: one that every object has already is no value of a record.
  const scalars: Record<string, unknown> = Object.create(null);
  for (const { name, kind } of tracks) {
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value === undefined) continue;
    if (value instanceof Media) media.set(name, value);
    else if (kind === "image" || kind === "video" || kind === "audio")
      media.set(name, new Media(name, kind, value as Uint8Array<ArrayBuffer>));
    else if (kind !== "embedding") scalars[name] = value;
  }
  return { anchor, values: scalars, media };
}

/** Frees the blob URLs of a record that is out of sight; a picture that is still shown stays. */
export function freeRow({ media }: Row): void {
  for (const each of media.values()) each.revoke();
}

/** One record, or undefined where the state has none at this anchor. Errors: those of reading. */
export async function readRow(
  space: DreamDBSpace,
  anchor: bigint,
  fields: string[],
  signal?: AbortSignal,
): Promise<Row | undefined> {
  const found = await space.get(anchor, { fields, ...(signal === undefined ? {} : { signal }) });
  return found === undefined ? undefined : rowOf(anchor, found as Record<string, unknown>, space.tracks());
}
