/** Looking at a state of the simulated backend as a reader does who comes anew: open, read, search, fsck. */
import { objectKey } from "../../src/core/address.ts";
import { toHex } from "../../src/core/blake3.ts";
import { Dataset } from "../../src/dataset/dataset.ts";
import { fsck } from "../../src/dataset/fsck.ts";
import { isDreamDBError } from "../../src/errors.ts";
import { decodeManifest, type Manifest } from "../../src/objects/manifest.ts";
import { decodeRef } from "../../src/objects/ref.ts";
import { type Outcome, readRows, recordsOf, searchRows } from "./client.ts";
import { clientStore, directStore, isRef, World } from "./world.ts";

/** What one value of a branch shows. */
export interface Branch {
  manifest: string;
  parents: string[];
  seq: number;
  /** Operations from the first Manifest to this one. */
  opIds: string[];
  genesis: string;
  rows: [anchor: bigint, n: number][];
  counts: Map<number, number>;
  /** Object keys that a check and a full read of it asked for. */
  needs: Set<string>;
  /** What is wrong with it by itself. */
  faults: string[];
}

/** Whether a ref's name is only reserved: there is no state to look at. */
export function isReserved(body: Uint8Array | undefined): boolean {
  return body !== undefined && decodeRef(body).type === "reserved";
}

/** Inspects branches of one world of objects, each state once. */
export class Inspector {
  private readonly world: World;
  private readonly known = new Map<string, Promise<Branch>>();
  private readonly manifests = new Map<string, Manifest>();

  /** @param world has the objects; its refs do not matter */
  constructor(world: World) {
    this.world = world;
  }

  get states(): number {
    return this.known.size;
  }

  /** @param body of the ref */
  branch(body: Uint8Array): Promise<Branch> {
    const { manifest } = decodeRef(body);
    const known = this.known.get(manifest) ?? this.look(body);
    this.known.set(manifest, known);
    return known;
  }

  private async look(body: Uint8Array): Promise<Branch> {
    const view = new World(this.world);
    for (const key of [...view.values.keys()]) if (isRef(key)) view.values.delete(key);
    view.apply({ verb: "put", key: "refs/main", bytes: body });
    const needs = new Set<string>();
    const store = clientStore(async (call) => {
      // A Space may be without a registry.
      const isNeeded = !isRef(call.key) && !call.key.startsWith("meta/");
      if (call.verb === "get" && isNeeded) needs.add(call.key);
      return view.apply(call);
    });
    const ref = decodeRef(body);
    const faults: string[] = [];
    const report = await fsck(store);
    faults.push(
      ...report.problems.map((problem) => `fsck: ${problem.code} ${problem.key} ${problem.message}`),
    );
    const branch: Branch = {
      manifest: ref.manifest,
      parents: [],
      seq: ref.seq,
      opIds: [],
      genesis: "",
      rows: [],
      counts: new Map(),
      needs,
      faults,
    };
    try {
      const dataset = await Dataset.open("main", store, { kernels: "scalar" });
      branch.rows = await readRows(dataset);
      if ((await dataset.count()) !== branch.rows.length) faults.push("count() is not the number of rows");
      for (const field of dataset.schema.fields)
        if (field.kind === "embedding") await this.searches(dataset, field.name, branch);
      this.walk(view, ref.manifest, branch);
      await dataset.close();
    } catch (error) {
      faults.push(`can't be read: ${error instanceof Error ? error.message : String(error)}`);
    }
    for (const [, n] of branch.rows) branch.counts.set(n, (branch.counts.get(n) ?? 0) + 1);
    for (const [n, count] of branch.counts) if (count > 1) faults.push(`record ${n} is there ${count} times`);
    if (new Set(branch.rows.map(([anchor]) => anchor)).size < branch.rows.length)
      faults.push("an anchor names two records");
    if (new Set(branch.opIds).size < branch.opIds.length) faults.push("one operation published two states");
    return branch;
  }

  /** Every record with a vector is found, through whatever index the field has. */
  private async searches(dataset: Dataset, field: string, branch: Branch): Promise<void> {
    const found = await searchRows(dataset, field);
    const wanted = branch.rows.filter(([, n]) => field !== "v" || n % 4 !== 3);
    if (show(found) !== show(wanted))
      branch.faults.push(`a search of ${field} finds ${found.length} of ${wanted.length} records`);
  }

  /** The history is one line, and says what each state says of itself. */
  private walk(view: World, from: string, branch: Branch): void {
    let at: string | undefined = from;
    let before: number | undefined;
    while (at !== undefined) {
      const manifest: Manifest = this.manifestOf(view, at);
      if (before === undefined) {
        branch.parents = manifest.parents;
        branch.genesis = manifest.genesis;
      } else if (manifest.seq !== before - 1) branch.faults.push(`sequence ${manifest.seq} under ${before}`);
      before = manifest.seq;
      branch.opIds.push(toHex(manifest.opId));
      if (manifest.parents.length > 1) branch.faults.push("a state with two parents");
      at = manifest.parents[0];
    }
    branch.opIds.reverse();
  }

  private manifestOf(view: World, address: string): Manifest {
    const known = this.manifests.get(address);
    if (known !== undefined) return known;
    const manifest = decodeManifest(view.values.get(objectKey(address))!.bytes);
    this.manifests.set(address, manifest);
    return manifest;
  }
}

function show(rows: [bigint, number][]): string {
  return rows.map(([anchor, n]) => `${anchor}:${n}`).join(" ");
}

/** What one client was told, held against what is there. Empty when it fits. */
export function contradictions(
  outcomes: readonly Outcome[],
  branch: Branch,
  refNamed: (name: string) => { isOwn: boolean } | undefined,
): string[] {
  const found: string[] = [];
  let last = -1n;
  const nameOf = ({ op }: Outcome): string | undefined =>
    op.do === "snapshot" ? op.label : op.do === "create" ? op.name : undefined;
  /** Names that the client may have made, at one time or another. */
  const made = new Set(outcomes.filter((outcome) => outcome.committed !== "no").map(nameOf));
  for (const { op, committed, code, anchors, fault } of outcomes) {
    if (fault !== undefined) found.push(fault);
    if (op.do === "append") {
      const there = op.rows.filter((n) => branch.counts.has(n)).length;
      const what = `append of ${op.rows}`;
      if (there !== 0 && there !== op.rows.length) found.push(`${what} is half visible`);
      if (committed === "yes" && there === 0) found.push(`${what} was acknowledged and is not there`);
      if (committed === "no" && there > 0) found.push(`${what} was refused and is there`);
      if (anchors === undefined || committed !== "yes" || there === 0) continue;
      const byNumber = new Map(branch.rows.map(([anchor, n]) => [n, anchor]));
      op.rows.forEach((n, i) => {
        if (byNumber.get(n) !== anchors[i])
          found.push(`record ${n} was said to be at ${anchors[i]} and is at ${byNumber.get(n)}`);
      });
      if (op.at === undefined) {
        if (anchors.some((anchor, i) => anchor <= (i === 0 ? last : anchors[i - 1]!)))
          found.push(`${what} got anchors that do not rise`);
        last = anchors.at(-1)!;
      }
    } else if (op.do === "snapshot" || op.do === "create") {
      const name = op.do === "snapshot" ? op.label : op.name;
      const ref = refNamed(name);
      if (committed === "yes" && ref?.isOwn !== true)
        found.push(`${op.do} of ${name} was acknowledged and is not there`);
      if (code === "AlreadyExists" && ref === undefined)
        found.push(`${name} was said to be taken, and is not there`);
      if (committed === "no" && ref?.isOwn === true && !made.has(name))
        found.push(`${op.do} of ${name} was refused and is there`);
    }
  }
  return found;
}

/**
 * After all is over: an outcome that stayed unknown can be asked for, the answer is right, and doing it again under
 * its name does not double it.
 */
export async function resolvable(world: World, outcome: Outcome): Promise<string[]> {
  if (outcome.op.do !== "append" || outcome.opId === undefined || outcome.committed !== "unknown") return [];
  const found: string[] = [];
  const after = new World(world);
  const store = directStore(after);
  const dataset = await Dataset.open("main", store, { kernels: "scalar", clock: () => 0n });
  const rows = (await readRows(dataset)).map(([, n]) => n);
  const isIn = outcome.op.rows.some((n) => rows.includes(n));
  const answer = await dataset.resume(outcome.opId);
  if ((answer !== undefined) !== isIn)
    found.push(`resume says ${answer !== undefined}, and it is ${isIn ? "" : "not "}in`);
  try {
    const records = recordsOf(outcome.op, dataset.schema) as never;
    const again = await dataset.appendMany(records, { opId: outcome.opId });
    if (answer !== undefined && again.manifest !== answer.manifest)
      found.push("a repetition names another state");
  } catch (error) {
    // Its anchors may have gone to another since.
    if (isIn || outcome.op.at === undefined || !isDreamDBError(error, "DuplicateAnchor")) throw error;
    return found;
  }
  const now = await readRows(await Dataset.open("main", store, { kernels: "scalar" }));
  for (const n of outcome.op.rows) {
    const times = now.filter(([, each]) => each === n).length;
    if (times !== 1) found.push(`record ${n} is there ${times} times after the repetition`);
  }
  return found;
}
