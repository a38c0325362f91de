/**
 * What keeps a collector of garbage from what a writer is about to publish (spec/0020-maintenance.md §7.4): each operation
 * remembers which objects it put, and before it moves a ref it takes those that are condemned off the list. Which lists there are
 * it asks for only when a ref tells that a collection began since it last asked.
 */
import { type Address, objectKey } from "../core/address.ts";
import { DreamDBError, isDreamDBError } from "../errors.ts";
import { decodeGcState, encodeGcState, GC_KEY, type GcState, type Round } from "../objects/gc-state.ts";
import type { Context } from "./context.ts";
import { listed } from "./pruned.ts";
import { inParallel, type Session } from "./session.ts";

/** The cell of the backend's collections as it was read last; no `state` while there never was one. */
export interface GcView {
  state?: GcState;
  etag?: string;
}

/** Collections that matter to an operation: those after this epoch, and the round that was under way then. */
export interface Since {
  epoch: number;
  /** Of the cell, if a round was under way: when it is another, that round may have deleted. */
  etag?: string;
}

/** Whatever was collected matters: an operation that relies on what it has not seen itself under a live ref. */
export const EVER: Since = { epoch: -1 };

/** What an operation holds that no ref reaches yet. */
export interface Holding {
  /** What the dataset object knows of collections; shared by its operations. */
  readonly view: { gc: GcView };
  /** The epoch that the ref had when the operation began. */
  readonly refEpoch: number;
  /** What was known before it put or read anything. */
  since?: Since;
  starting?: Promise<void>;
  /** Objects it put. */
  readonly puts: Set<Address>;
  /** States that it makes reachable by another ref, and of each the ref that it was read from; its own address when it was none. */
  readonly states: Map<Address, string>;
}

/** What holding takes of a context. */
export type HoldingContext = Pick<Context, "store" | "session" | "random" | "sleep" | "retries" | "holding">;

/** To be called before the first object is put, and before a state is read that another ref is to name. */
export async function beginHolding(ctx: HoldingContext): Promise<void> {
  const { holding } = ctx;
  if (holding.since !== undefined) return;
  holding.starting ??= (async () => {
    if (epochOf(holding) < holding.refEpoch) await readCollections(ctx, holding.refEpoch);
    const { state, etag } = holding.view.gc;
    holding.since = {
      epoch: epochOf(holding),
      ...(state?.round === undefined || etag === undefined ? {} : { etag }),
    };
  })().finally(() => {
    delete holding.starting;
  });
  await holding.starting;
}

/** An operation goes on with what another one put. */
export function adopt(holding: Holding, other: Holding): void {
  if (other === holding) return;
  for (const address of other.puts) holding.puts.add(address);
  for (const [address, ref] of other.states) holding.states.set(address, ref);
  const [own, others] = [holding.since, other.since];
  if (others === undefined) return;
  if (own === undefined) holding.since = others;
  else if (own.epoch !== others.epoch || own.etag !== others.etag) holding.since = EVER;
}

export function epochOf({ view }: Holding): number {
  return view.gc.state?.epoch ?? 0;
}

/** Reads the cell. Errors: `RefRollback` when it is older than what was read before, or than a ref says; `Corrupt`. */
export async function readCollections(ctx: HoldingContext, least = 0): Promise<GcView> {
  const { view } = ctx.holding;
  const expected = Math.max(epochOf(ctx.holding), least);
  const found = await ctx.session.current(GC_KEY);
  const next: GcView = found === undefined ? {} : { state: decodeGcState(found.bytes), etag: found.etag };
  const epoch = next.state?.epoch ?? 0;
  if (epoch < expected) {
    throw new DreamDBError(
      "RefRollback",
      "the backend shows an older state of its collections than refs tell of",
      {
        field: GC_KEY,
        found: `epoch ${epoch}`,
        expected: `epoch ${expected} or a later one`,
        committed: "no",
      },
    );
  }
  // Operations of one object read at the same time; the later state stays.
  if (epoch >= epochOf(ctx.holding)) view.gc = next;
  return view.gc;
}

/**
 * To be called when the tip is known that a ref is to be moved from, and before it is moved: what the operation needs stays.
 * @param epoch of the ref (or registry) as it was read; what it says of collections is all that has to be known
 * @param fresh objects that are put after this
 * Errors: `Conflict` when an object was deleted that the operation put, or is being deleted for too long; `NotFound` when a state is gone.
 */
export async function hold(
  ctx: HoldingContext,
  epoch: number,
  fresh: readonly Address[] = [],
): Promise<void> {
  const { holding } = ctx;
  if (epochOf(holding) < epoch) await readCollections(ctx, epoch);
  // Whether something may have been deleted since the operation put or read it.
  let isOpen = isLater(holding.view.gc, holding.since ?? { epoch });
  let checked: string | undefined;
  for (let attempt = 0; ; attempt++) {
    const { state, etag } = holding.view.gc;
    if (state === undefined) return;
    const wanted = [...new Set([...holding.puts, ...fresh])];
    // What a state was found to have stays until a round begins to delete.
    const phase = `${state.epoch} ${state.round?.phase}`;
    let found: Condemned;
    try {
      if (isOpen && holding.states.size > 0 && phase !== checked) {
        const { refuseIncomplete } = await import("./complete.ts");
        await refuseIncomplete(ctx.session, holding.states, state);
        checked = phase;
      }
      found = await condemnedAmong(ctx.session, state, wanted, [...holding.states.keys()]);
    } catch (error) {
      // Lists of a round that has ended are garbage themselves.
      if (!isDreamDBError(error, "NotFound") || attempt > ctx.retries) throw error;
      if ((await readCollections(ctx)).etag === etag) throw error;
      isOpen = true;
      continue;
    }
    if (found.objects.length === 0 && found.states.length === 0) break;
    if (attempt > ctx.retries) throw stillDeleting(state, found);
    isOpen = true;
    // A round that was told of a state that is not complete could not end.
    if (found.states.length > 0 && phase !== checked) continue;
    if (state.round?.phase === "condemned") {
      await spare(ctx, state, etag as string, found);
      continue;
    }
    await ctx.sleep(Math.min(1000, 2 ** attempt));
    await readCollections(ctx);
  }
  if (isOpen) await refuseLost(ctx);
}

/** Whether something may have been deleted since. */
function isLater({ state, etag }: GcView, since: Since): boolean {
  if ((state?.epoch ?? 0) > since.epoch) return true;
  return since.etag !== undefined && since.etag !== etag;
}

interface Condemned {
  objects: Address[];
  states: Address[];
}

/** What the round under way has to be told of: objects on its lists, and while it can be told of them all states. */
async function condemnedAmong(
  session: Session,
  { round }: GcState,
  objects: readonly Address[],
  states: readonly Address[],
): Promise<Condemned> {
  if (round === undefined) return { objects: [], states: [] };
  const spared = new Set(round.spared);
  const named = new Set(round.states);
  const condemned = await listed(session, round.condemned, objects);
  return {
    objects: objects.filter((address) => condemned.has(address) && !spared.has(address)),
    // Listed or not: what was stored before a state may be on a list that was made before that was, and the ref that leads to it
    // now may be gone when roots are read.
    states: round.phase === "condemned" ? states.filter((address) => !named.has(address)) : [],
  };
}

/** Takes off the lists what was found there. Whatever comes of it, the view is the cell as it is then. */
async function spare(ctx: HoldingContext, state: GcState, etag: string, found: Condemned): Promise<void> {
  const round = state.round as Round;
  const next: GcState = {
    ...state,
    writeId: ctx.random(16),
    round: {
      ...round,
      spared: [...round.spared, ...found.objects],
      states: [...round.states, ...found.states],
    },
  };
  try {
    const put = await ctx.store.put(GC_KEY, encodeGcState(next), { ifMatch: etag });
    ctx.holding.view.gc = { state: next, etag: put.etag };
  } catch (error) {
    if (!isDreamDBError(error) || (error.code !== "Conflict" && error.committed === "no")) throw error;
    // Another was faster, or the reply was lost: what is there now decides.
    await ctx.sleep(Number(ctx.random(1)[0]) % 8);
    await readCollections(ctx);
  }
}

/** A collection came in between: what the operation put has to be there still. */
async function refuseLost(ctx: HoldingContext): Promise<void> {
  await inParallel([...ctx.holding.puts], async (address) => {
    if (await ctx.session.isStored(address)) return;
    throw new DreamDBError(
      "Conflict",
      "a collection deleted what this operation had stored, before it was published; nothing was published",
      {
        field: objectKey(address),
        found: "no such object",
        expected: "operations that take less time than the age collections are given",
        retryable: true,
        committed: "no",
      },
    );
  });
}

function stillDeleting({ epoch }: GcState, { objects }: Condemned): DreamDBError {
  return new DreamDBError(
    "Conflict",
    "a collection is deleting objects that this operation needs; call again later",
    {
      field: GC_KEY,
      found: `${objects.length} objects of epoch ${epoch}`,
      expected: "a collection that ends",
      retryable: true,
      committed: "no",
    },
  );
}
