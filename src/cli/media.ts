/** Media bytes: read from where a row says they are, and told apart by how they begin. */
import { readFile } from "node:fs/promises";
import { extname, isAbsolute, relative, resolve, sep } from "node:path";
import { DreamDBError, type MediaField } from "../index.node.ts";
import { fileError } from "./failure.ts";

export interface MediaFormat {
  kind: MediaField["kind"];
  mime: string;
}

const latin1 = new TextDecoder("latin1");

/** First bytes of formats, as Latin-1; "?" stands for any byte. */
const SIGNATURES: readonly [string, MediaFormat][] = [
  ["\xff\xd8\xff", { kind: "image", mime: "jpeg" }],
  ["\x89PNG\r\n\x1a\n", { kind: "image", mime: "png" }],
  ["GIF8", { kind: "image", mime: "gif" }],
  ["RIFF????WEBP", { kind: "image", mime: "webp" }],
  ["RIFF????WAVE", { kind: "audio", mime: "wav" }],
  ["fLaC", { kind: "audio", mime: "flac" }],
  ["ID3", { kind: "audio", mime: "mp3" }],
  ["????ftyp", { kind: "video", mime: "mp4" }],
  ["\x1aE\xdf\xa3", { kind: "video", mime: "webm" }],
];

const IMAGE_EXTENSIONS: Record<string, string> = {
  ".png": "png",
  ".jpg": "jpeg",
  ".jpeg": "jpeg",
  ".gif": "gif",
  ".webp": "webp",
};

/** A field of this format takes images of every format. */
export const MIXED = "mixed";

export function formatOf(bytes: Uint8Array): MediaFormat | undefined {
  const start = latin1.decode(bytes.subarray(0, 12));
  const begins = (signature: string): boolean =>
    start.length >= signature.length && [...signature].every((char, i) => char === "?" || char === start[i]);
  return SIGNATURES.find(([signature]) => begins(signature))?.[1];
}

/** The format that a file's name promises, for the images that folders are searched for. */
export function imageFormatOf(path: string): string | undefined {
  return IMAGE_EXTENSIONS[extname(path).toLowerCase()];
}

/** True for `{"$file": …}`, `{"$base64": …}` and bytes. */
export function isMedia(raw: unknown): boolean {
  if (raw instanceof Uint8Array) return true;
  return (
    typeof raw === "object" && raw !== null && (Object.hasOwn(raw, "$file") || Object.hasOwn(raw, "$base64"))
  );
}

/**
 * The bytes that `raw` stands for. Files are looked for below `base`, and only there: rows come from elsewhere,
 * and must not be able to pull in any file of this machine.
 */
export async function readMedia(
  raw: unknown,
  base: string,
  where: string,
  field: string,
): Promise<Uint8Array> {
  if (raw instanceof Uint8Array) return raw;
  const { $file: file, $base64: base64 } = isMedia(raw)
    ? (raw as { $file?: unknown; $base64?: unknown })
    : {};
  if (typeof file === "string") return readBelow(base, file, where, field);
  if (typeof base64 === "string") return decodeBase64(base64, where, field);
  throw mismatch(where, field, raw, '{"$file": "path"} or {"$base64": "…"}');
}

async function readBelow(base: string, file: string, where: string, field: string): Promise<Uint8Array> {
  const path = resolve(base, file);
  const inside = relative(base, path);
  if (inside === "" || inside === ".." || inside.startsWith(`..${sep}`) || isAbsolute(inside)) {
    throw new DreamDBError("InvalidArgument", `${where}: media files must lie below ${base}`, {
      field,
      found: file,
      expected: "a relative path",
    });
  }
  const bytes = await readFile(path).catch((error: unknown) => {
    throw fileError(error, `${where}: ${path}`);
  });
  const promised = imageFormatOf(file);
  if (promised !== undefined && formatOf(bytes) === undefined) {
    throw mismatch(
      where,
      field,
      `${file}, ${bytes.length} bytes that don't begin like an image`,
      `a ${promised} file`,
    );
  }
  return bytes;
}

function decodeBase64(text: string, where: string, field: string): Uint8Array {
  // Buffer skips over whatever is no base64, so the text is checked first.
  const isWhole = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  if (isWhole) return new Uint8Array(Buffer.from(text, "base64"));
  throw mismatch(where, field, text, "base64 (RFC 4648, padded)");
}

/** Errors: `SchemaViolation` when the bytes are recognised as another format than the field's. */
export function checkFormat(field: MediaField, bytes: Uint8Array, where: string): void {
  const found = formatOf(bytes);
  if (found === undefined || field.mime === MIXED || found.mime === normal(field.mime)) return;
  const isKnown = SIGNATURES.some(
    ([, format]) => format.kind === field.kind && format.mime === normal(field.mime),
  );
  if (found.kind === field.kind && !isKnown) return;
  throw mismatch(
    where,
    field.name,
    `${found.kind}/${found.mime}`,
    `${field.kind}/${field.mime} (a schema with mime "${MIXED}" takes all)`,
  );
}

function normal(mime: string): string {
  return mime === "jpg" ? "jpeg" : mime;
}

function mismatch(where: string, field: string, found: unknown, expected: string): DreamDBError {
  return new DreamDBError("SchemaViolation", `${where} does not fit the schema`, {
    field,
    found,
    expected,
    committed: "no",
  });
}
