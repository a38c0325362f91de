/** The states of a dataset that refs name. */
import { type Address, addressOf } from "../core/address.ts";
import { equalBytes } from "../core/blake3.ts";
import { refKey } from "../core/ref-name.ts";
import { DreamDBError } from "../errors.ts";
import { decodeManifest, type Manifest } from "../objects/manifest.ts";
import {
  decodeRef,
  INLINE_MANIFEST_BYTES,
  isLive,
  type RefBody,
  type RefTraits,
  type RefType,
} from "../objects/ref.ts";
import { corrupt } from "../objects/shape.ts";
import type { Context } from "./context.ts";
import type { Session } from "./session.ts";

/** A ref as it was read. */
export interface Tip {
  ref: RefBody;
  etag: string;
  manifest: Manifest;
  address: Address;
}

/** The ref's current state, or undefined when there is none by this name, or it was deleted. */
export async function readTip(session: Session, name: string): Promise<Tip | undefined> {
  const found = await readRef(session, name);
  return found === undefined || !isLive(found.ref) ? undefined : tipOf(session, found);
}

/** The ref's body as it is, also of one that was deleted, or is still to come. */
export async function readRef(
  session: Session,
  name: string,
): Promise<{ ref: RefBody; etag: string } | undefined> {
  const found = await session.current(refKey(name));
  return found && { ref: decodeRef(found.bytes), etag: found.etag };
}

async function tipOf(session: Session, { ref, etag }: { ref: RefBody; etag: string }): Promise<Tip> {
  const manifest = await manifestOfRef(session, ref);
  if (manifest.seq !== ref.seq) throw corrupt("ref.seq", ref.seq, manifest.seq);
  return { ref, etag, manifest, address: ref.manifest };
}

async function manifestOfRef(session: Session, ref: RefBody): Promise<Manifest> {
  if (ref.inline === undefined) return readManifest(session, ref.manifest);
  const found = addressOf(ref.inline);
  if (found !== ref.manifest) {
    throw new DreamDBError("HashMismatch", "the Manifest inside a ref does not match its address", {
      field: "ref.inline",
      found,
      expected: ref.manifest,
    });
  }
  return decodeManifest(ref.inline);
}

export async function readManifest(session: Session, address: Address): Promise<Manifest> {
  return decodeManifest(await session.object(address));
}

/** A ref only ever moves on. Errors: `RefRollback` when `now` is older than `before`, or another state of its number. */
export function refuseRollback(
  name: string,
  before: Tip,
  now: Tip,
  details: { committed?: "no" } = {},
): void {
  const isOther = now.ref.seq === before.ref.seq && now.address !== before.address;
  if (now.ref.seq > before.ref.seq || (now.ref.seq === before.ref.seq && !isOther)) return;
  throw new DreamDBError("RefRollback", "the backend shows an older state of the ref than was read before", {
    field: name,
    found: isOther ? `another state of sequence ${now.ref.seq}` : `sequence ${now.ref.seq}`,
    expected: `sequence ${before.ref.seq} as it was, or a later one`,
    ...details,
  });
}

export function newRef(
  ctx: Pick<Context, "clock" | "random">,
  type: RefType,
  address: Address,
  manifest: Manifest,
  bytes: Uint8Array,
  gcEpoch: number,
  traits: RefTraits = {},
): RefBody {
  const ref = {
    type,
    manifest: address,
    seq: manifest.seq,
    writeId: ctx.random(16),
    opId: manifest.opId,
    gcEpoch,
    ts: ctx.clock(),
    ...traits,
  };
  return bytes.length <= INLINE_MANIFEST_BYTES ? { ...ref, inline: bytes } : ref;
}

/** The Manifest that `opId`, or one of several, published, looked for from `tip` back to (not including) sequence `afterSeq`. */
export async function findOperation(
  session: Session,
  tip: { address: Address; manifest: Manifest },
  opId: Uint8Array | readonly Uint8Array[],
  afterSeq: number,
): Promise<{ address: Address; manifest: Manifest } | undefined> {
  const opIds = ArrayBuffer.isView(opId) ? [opId] : opId;
  const waiting = [{ address: tip.address, manifest: tip.manifest }];
  const seen = new Set<Address>();
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    if (node.manifest.seq <= afterSeq) continue;
    const { manifest } = node;
    if (opIds.some((each) => equalBytes(manifest.opId, each))) return node;
    for (const parent of node.manifest.parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      waiting.push({ address: parent, manifest: await readManifest(session, parent) });
    }
  }
  return undefined;
}
