/** A state by the name of a ref, or by its Manifest's address. */
import { isAddress } from "../core/address.ts";
import { checkRefName } from "../core/ref-name.ts";
import { DreamDBError } from "../errors.ts";
import type { State } from "./ancestry.ts";
import { refusePruned } from "./pruned.ts";
import type { Session } from "./session.ts";
import { readManifest, readTip } from "./tip.ts";

/** A state, and what the caller called it. */
export interface Source extends State {
  label: string;
}

/** What a ref names, or the Manifest with this address. Errors: `NotFound`, `InvalidName`. */
export async function readState({ session }: { session: Session }, name: string): Promise<Source> {
  if (typeof name === "string" && isAddress(name)) {
    const [manifest] = await Promise.all([readManifest(session, name), refusePruned(session, name)]);
    return { label: name, address: name, manifest };
  }
  checkRefName(name);
  const tip = await readTip(session, name);
  if (tip !== undefined) return { label: name, address: tip.address, manifest: tip.manifest };
  throw new DreamDBError("NotFound", "no dataset, branch or snapshot has this name", {
    field: "name",
    found: name,
    expected: "the name of a ref, or the address of a Manifest",
  });
}
