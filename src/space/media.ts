import { DreamDBError } from "../errors.ts";
import { mediaTypeOf } from "./media-type.ts";

const OPAQUE = "application/octet-stream";
const SHOWN_BYTES = 12;

/** An image, sound or film of a sample. */
export class Media {
  /** As the bytes tell, never as the schema says; `application/octet-stream` for what a page must not show. */
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Why there is no `url`: `SchemaViolation`. */
  readonly refusal?: DreamDBError;
  #url: string | undefined;
  #isRevoked = false;

  /** @param bytes not changed afterwards */
  constructor(field: string, kind: "image" | "video" | "audio", bytes: Uint8Array<ArrayBuffer>) {
    const type = mediaTypeOf(bytes, kind);
    this.type = type ?? OPAQUE;
    this.bytes = bytes;
    if (type === undefined) this.refusal = refused(field, bytes);
  }

  /** The bytes with their type, for `createImageBitmap` and the like; what a page must not show has no telling type. */
  blob(): Blob {
    return new Blob([this.bytes], { type: this.type });
  }

  /** A blob URL, made when first asked for, until `revoke`; undefined after that, and with a `refusal`. */
  get url(): string | undefined {
    if (this.refusal !== undefined || this.#isRevoked) return undefined;
    this.#url ??= URL.createObjectURL(this.blob());
    return this.#url;
  }

  /** Lets the browser free what the URL holds; a picture that is shown stays. */
  revoke(): void {
    this.#isRevoked = true;
    if (this.#url !== undefined) URL.revokeObjectURL(this.#url);
    this.#url = undefined;
  }
}

function refused(field: string, bytes: Uint8Array): DreamDBError {
  const head = Array.from(bytes.subarray(0, SHOWN_BYTES), (byte) => byte.toString(16).padStart(2, "0"));
  return new DreamDBError("SchemaViolation", "these bytes are no media that a page may show", {
    field,
    found: head.length === 0 ? "no bytes" : `bytes that begin ${head.join(" ")}`,
    expected: "JPEG, PNG, GIF, WebP, AVIF, BMP, MP4, WebM, QuickTime, Ogg, WAV, MP3 or FLAC",
  });
}
