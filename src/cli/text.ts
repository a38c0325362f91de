/** Values as people and machines read them. */

const SHOWN_COMPONENTS = 4;

/** One value for a table cell; an absent one is empty. */
export function toText(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (ArrayBuffer.isView(value))
    return value instanceof Uint8Array ? `${value.length} bytes` : vectorText(value as Float32Array);
  return typeof value === "object" ? toJson(value) : String(value);
}

function vectorText(vector: Float32Array): string {
  const shown = [...vector.subarray(0, SHOWN_COMPONENTS)].map((component) =>
    Number(component.toPrecision(4)),
  );
  return vector.length <= SHOWN_COMPONENTS
    ? `[${shown.join(", ")}]`
    : `[${shown.join(", ")}, … ${vector.length} in all]`;
}

/** One JSON document: bigints as strings of digits, bytes as `{"bytes": n}`, vectors as arrays of numbers. */
export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, replacer, indent) as string;
}

/** Looks the value up again: a Buffer arrives here as what its own toJSON made of it. */
function replacer(this: Record<string, unknown>, key: string): unknown {
  return jsonable(this[key]);
}

function jsonable(value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return { bytes: value.length };
  if (ArrayBuffer.isView(value)) return Array.from(value as Float32Array);
  return value;
}

/** Unix nanoseconds as UTC time of day with all nine digits, or as digits where a calendar has no such year. */
export function timeText(ns: bigint): string {
  const fraction = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const date = new Date(Number((ns - fraction) / 1_000_000n));
  if (Number.isNaN(date.getTime())) return ns.toString();
  return `${date.toISOString().slice(0, -5)}.${fraction.toString().padStart(9, "0")}Z`;
}

export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

export function plural(count: number, one: string): string {
  return `${count} ${count === 1 ? one : `${one}s`}`;
}
