/** Modality tags: what a Track's values are (spec/0002-content-addressing.md §5). */
import { DreamDBError } from "../errors.ts";

export interface Modality {
  /** Dot-separated segments, such as `["image", "jpeg"]`. */
  path: string[];
  parameters: Map<string, string>;
}

const SEGMENT = /^[a-z0-9][a-z0-9-]*$/;
const VALUE = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
const MAX_CHARS = 255;
/** First segments with a meaning of their own; any other tag is reverse-DNS. */
const RESERVED = new Set(["image", "video", "audio", "vector", "scalar", "text", "dreamdb"]);
/** Of these, the ones that a format follows and nothing else. */
const MEDIA = new Set(["image", "video", "audio"]);

export function parseModality(tag: string, field = "modality"): Modality {
  const [head = "", ...tail] = tag.length <= MAX_CHARS ? tag.split(";") : [];
  const path = head.split(".");
  const parameters = new Map<string, string>();
  for (const part of tail) {
    const [key = "", value = "", ...rest] = part.split("=");
    if (!SEGMENT.test(key) || !VALUE.test(value) || rest.length > 0 || parameters.has(key))
      throw invalid(tag, field);
    parameters.set(key, value);
  }
  const [first = ""] = path;
  const hasItsLength = path.length >= (RESERVED.has(first) ? 2 : 3) && !(MEDIA.has(first) && path.length > 2);
  if (!hasItsLength || !path.every((segment) => SEGMENT.test(segment))) throw invalid(tag, field);
  return { path, parameters };
}

export function formatModality(modality: Modality): string {
  let tag = modality.path.join(".");
  for (const [key, value] of modality.parameters) tag += `;${key}=${value}`;
  parseModality(tag);
  return tag;
}

function invalid(tag: string, field: string): DreamDBError {
  return new DreamDBError("InvalidArgument", "not a modality tag", {
    field,
    found: tag,
    expected: "such as image.jpeg, vector.f32;dim=512 or com.example.lidar",
  });
}
