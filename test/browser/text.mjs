// What a call gave, as text that is equal just when every bit is: on the page and in Node alike.

/** Numbers by their 64 bits, bytes in hex with their type's name, objects by their keys in order. */
export function textOf(value) {
  if (typeof value === "number") {
    const view = new DataView(new ArrayBuffer(8));
    view.setFloat64(0, value);
    return `n${view.getBigUint64(0).toString(16)}`;
  }
  if (typeof value === "bigint") return `${value}i`;
  if (typeof value === "string") return JSON.stringify(value);
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return `${value.constructor.name === "Buffer" ? "Uint8Array" : value.constructor.name}:${hexOf(bytes)}`;
  }
  if (Array.isArray(value)) return `[${value.map(textOf).join()}]`;
  if (typeof value === "object" && value !== null) {
    const keys = Object.keys(value).sort();
    return `{${keys.map((key) => `${key}:${textOf(value[key])}`).join()}}`;
  }
  return String(value);
}

function hexOf(bytes) {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** Arguments on their way to Node: JSON, with bigints as { bigint: "…" }. */
export function toJson(value) {
  return JSON.stringify(value, (_, each) =>
    typeof each === "bigint" ? { bigint: String(each) } : ArrayBuffer.isView(each) ? [...each] : each,
  );
}

export function fromJson(text) {
  return JSON.parse(text, (_, each) =>
    typeof each === "object" && each !== null && typeof each.bigint === "string" ? BigInt(each.bigint) : each,
  );
}
