import { isAddress, objectKey } from "../core/address.ts";
import { checkRefName } from "../core/ref-name.ts";
import { DreamDBError } from "../errors.ts";

/** What a Space's address names: a backend, and a ref or a Manifest there. */
export type SpacePlace = { backend: string } & ({ name: string } | { manifest: string });

/**
 * `<backend>/refs/<name>`, or `<backend>/objects/<2 characters>/<address>` of a Manifest: the URL at which the ref or the
 * object itself can be fetched. Split at the last `/refs/`.
 * Errors: `InvalidUri`, `InvalidName`.
 */
export function parseSpaceUri(uri: string | URL): SpacePlace {
  const text = String(uri).replace(/\/+$/, "");
  const object = /^(.+)\/objects\/([a-z2-7]{2})\/([a-z2-7]+)$/.exec(text);
  if (object !== null) {
    const [, backend, , address] = object as unknown as [string, string, string, string];
    if (isAddress(address) && text.endsWith(`/${objectKey(address)}`)) return { backend, manifest: address };
  }
  const at = text.lastIndexOf("/refs/");
  if (at <= 0) throw invalid(text);
  return { backend: text.slice(0, at), name: checkRefName(text.slice(at + "/refs/".length), "uri") };
}

function invalid(found: string): DreamDBError {
  return new DreamDBError("InvalidUri", "not the address of a Space", {
    field: "uri",
    found,
    expected: "https://host/bucket/refs/name, or https://host/bucket/objects/ab/dyq… of a Manifest",
  });
}
