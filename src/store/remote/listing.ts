/** The answer to S3's ListObjectsV2, read without an XML parser: only flat elements of known names matter. */
import type { ListedPage } from "./wire.ts";

/** Undefined when the text is no such list. */
export function parseListing(xml: string): ListedPage | undefined {
  if (!/<ListBucketResult[\s>]/.test(xml)) return undefined;
  const keys: ListedPage["keys"] = [];
  for (const [, item] of xml.matchAll(/<Contents>([\s\S]*?)<\/Contents>/g)) {
    const key = element(item as string, "Key");
    const bytes = Number(element(item as string, "Size"));
    if (key !== undefined && Number.isSafeInteger(bytes)) keys.push({ key, bytes });
  }
  const isCut = element(xml, "IsTruncated")?.trim() === "true";
  const next = isCut ? element(xml, "NextContinuationToken") : undefined;
  return { keys, next };
}

/** Code and message of S3's error document; undefined for any other text. */
export function parseError(xml: string): { code: string; reason: string | undefined } | undefined {
  if (!/<Error[\s>]/.test(xml)) return undefined;
  const code = element(xml, "Code");
  return code === undefined ? undefined : { code, reason: element(xml, "Message") };
}

function element(xml: string, name: string): string | undefined {
  const found = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return found === undefined ? undefined : unescaped(found);
}

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescaped(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name !== undefined) return NAMED[name] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
