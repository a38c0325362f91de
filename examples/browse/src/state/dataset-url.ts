/** The address of a dataset in its parts, as the library splits it: at the last /refs/, or before the /objects/ of a Manifest. */

export interface DatasetUrl {
  backend: string;
  /** Of a ref. */
  name: string | undefined;
  /** An address, when it is that of one state for good. */
  manifest: string | undefined;
}

/** Undefined where it is neither. */
export function parseDatasetUrl(url: string): DatasetUrl | undefined {
  const text = url.replace(/\/+$/, "");
  const object = /^(.+)\/objects\/[a-z2-7]{2}\/([a-z2-7]{50,})$/.exec(text);
  if (object !== null)
    return { backend: object[1] as string, name: undefined, manifest: object[2] as string };
  const at = text.lastIndexOf("/refs/");
  if (at <= 0) return undefined;
  return { backend: text.slice(0, at), name: text.slice(at + "/refs/".length), manifest: undefined };
}

/** A short name for what an address opens. */
export function labelOf(url: string): string {
  const found = parseDatasetUrl(url);
  return found?.name ?? (found?.manifest === undefined ? url : shortAddress(found.manifest));
}

export function shortAddress(manifest: string): string {
  return `${manifest.slice(0, 12)}…`;
}
