/**
 * Fields of records that may turn out to be hits, read while their vectors are (spec/0005-backend-interface.md §9): over
 * a network a round trip costs more than the rows that are read in vain.
 */
import type { FieldSpec } from "../objects/field.ts";
import type { Manifest } from "../objects/manifest.ts";
import { halfOf } from "./coalesce.ts";
import { readRows } from "./rows.ts";
import type { Session } from "./session.ts";
import { locateAll } from "./timeline.ts";

/** Candidates whose fields are read ahead; of more, far too many would be read in vain. */
const MAX_CANDIDATES = 64;
/** Columns whose heads are read before it is known which of them hold hits. */
const MAX_HEADS = 12;

export class RowsAhead {
  private readonly session: Session;
  private readonly timeline: Manifest["timeline"];
  private readonly fields: readonly FieldSpec[];
  private reading: Promise<ReadonlyMap<bigint, unknown[]>> | undefined;

  /** Undefined where it would save nothing. */
  static for(session: Session, manifest: Manifest, fields: readonly FieldSpec[]): RowsAhead | undefined {
    if (session.store.isRemote !== true || fields.length === 0 || !fields.every(isSmall)) return undefined;
    return new RowsAhead(session, manifest.timeline, fields);
  }

  private constructor(session: Session, timeline: Manifest["timeline"], fields: readonly FieldSpec[]) {
    this.session = session;
    this.timeline = timeline;
    this.fields = fields;
  }

  /** Reads the heads of the fields' columns, if they are few. */
  warm(): void {
    const { session, timeline, fields } = this;
    if (timeline.pages.length > 0 || timeline.entries.length * fields.length > MAX_HEADS) return;
    for (const { columns } of timeline.entries) {
      for (const { id } of fields) {
        const ref = columns.get(id);
        if (ref?.head !== undefined) session.openColumn(ref).catch(() => {});
      }
    }
  }

  /** Reads the rows of these anchors. */
  start(ticks: readonly bigint[]): void {
    if (ticks.length > MAX_CANDIDATES) return;
    this.reading = this.read(ticks);
    this.reading.catch(() => {});
  }

  /** By anchor, what there is by now of the rows; whatever went wrong, the hits' own rows are read anew. */
  async rows(): Promise<ReadonlyMap<bigint, unknown[]>> {
    return (await this.reading?.catch(() => undefined)) ?? new Map();
  }

  private async read(ticks: readonly bigint[]): Promise<ReadonlyMap<bigint, unknown[]>> {
    const { session, timeline, fields } = this;
    const found = (await locateAll(session, timeline, ticks)).flatMap((at, i) =>
      at === undefined ? [] : [{ at, tick: ticks[i] as bigint }],
    );
    const places = found.map(({ at }) => at);
    const rows = await readRows(session, fields, places, halfOf(session.reads));
    return new Map(found.map(({ tick }, i) => [tick, rows[i] as unknown[]]));
  }
}

function isSmall({ kind }: FieldSpec): boolean {
  return kind !== "embedding" && kind !== "image" && kind !== "video" && kind !== "audio";
}
