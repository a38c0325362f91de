/**
 * What a page may show of stored media, told by the first bytes alone: formats that hold pixels or sound and nothing that a
 * browser would run. Never SVG, HTML or PDF: a blob URL has the page's origin, so that a script in one would be the page's own.
 */

/** Bytes that have to be known; fewer will do where there are no more. */
const HEAD_BYTES = 64;

/** Signatures at the first byte; a space in a text stands for any byte. */
const SIGNATURES: readonly (readonly [signature: readonly number[] | string, type: string])[] = [
  [[0xff, 0xd8, 0xff], "image/jpeg"],
  [[0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], "image/png"],
  ["GIF87a", "image/gif"],
  ["GIF89a", "image/gif"],
  ["RIFF    WEBPVP8", "image/webp"],
  ["BM", "image/bmp"],
  ["RIFF    WAVE", "audio/wav"],
  ["fLaC", "audio/flac"],
  ["ID3", "audio/mpeg"],
  ["OggS", "ogg"],
  [[0x1a, 0x45, 0xdf, 0xa3], "webm"],
];

/** Brands of the ISO base media format: pictures, sound alone; any other is video. */
const PICTURES: Readonly<Record<string, string>> = { avif: "image/avif", avis: "image/avif" };
const SOUND = new Set(["M4A ", "M4B ", "F4A "]);
const FILMS = /^(isom|iso[2-9]|mp4[12]|avc1|M4V |MSNV|dash|cmf[2cfls]|msdh|msix|hev1|hvc1|3g[egprs][1-9])$/;
const BMP_HEADER_BYTES = 14;

/** The media type of `bytes`, or undefined when they are none that a page may show; `kind` tells sound from film in containers of both. */
export function mediaTypeOf(bytes: Uint8Array, kind: "image" | "video" | "audio"): string | undefined {
  const head = bytes.subarray(0, HEAD_BYTES);
  const found = SIGNATURES.find(([signature]) => begins(head, signature))?.[1];
  const family = kind === "audio" ? "audio" : "video";
  if (found === "image/bmp") return isBitmap(bytes) ? found : undefined;
  if (found === "ogg") return `${family}/ogg`;
  if (found === "webm") return isWebm(head) ? `${family}/webm` : undefined;
  if (found !== undefined) return found;
  if (begins(head, "    ftyp")) return isoType(text(head, 8, 12), kind);
  return isMpegFrame(head) ? "audio/mpeg" : undefined;
}

function isoType(brand: string, kind: string): string | undefined {
  if (brand in PICTURES) return PICTURES[brand];
  if (brand === "qt  ") return "video/quicktime";
  if (SOUND.has(brand)) return "audio/mp4";
  if (FILMS.test(brand)) return kind === "audio" ? "audio/mp4" : "video/mp4";
  return undefined;
}

/** Two letters are little: the header's length of the file and its zeros have to fit too. */
function isBitmap(bytes: Uint8Array): boolean {
  if (bytes.length < BMP_HEADER_BYTES) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset, BMP_HEADER_BYTES);
  return view.getUint32(2, true) === bytes.length && view.getUint32(6, true) === 0;
}

/** Matroska files of any kind begin alike: the document type follows within the first bytes. */
function isWebm(head: Uint8Array): boolean {
  return text(head, 0, head.length).includes("webm");
}

/** Eleven bits of ones, then a version, a layer, a bit rate and a sampling rate that there are. */
function isMpegFrame(head: Uint8Array): boolean {
  const [a = 0, b = 0, c = 0] = head;
  const hasSync = a === 0xff && (b & 0xe0) === 0xe0;
  return hasSync && (b & 0x18) !== 0x08 && (b & 6) === 2 && (c & 0xf0) !== 0xf0 && (c & 0xc) !== 0xc;
}

function begins(head: Uint8Array, signature: readonly number[] | string): boolean {
  if (head.length < signature.length) return false;
  for (let i = 0; i < signature.length; i++) {
    const expected = typeof signature === "string" ? signature.charCodeAt(i) : signature[i];
    if (expected !== 32 && head[i] !== expected) return false;
  }
  return true;
}

function text(bytes: Uint8Array, from: number, to: number): string {
  return String.fromCharCode(...bytes.subarray(from, to));
}
