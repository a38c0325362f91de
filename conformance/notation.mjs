// CBOR values as JSON, for vectors: integers and floats as text, so that none is rounded and 1.5, 1 and -0 stay apart.
//
//   {"int": "18446744073709551615"}  {"float": "-0"}  {"text": "a"}  {"bytes": "0102"}  true  false  null
//   {"array": [value, …]}  {"map": [[key, value], …]}  {"tag": 65524, "value": value}  {"undefined": true}

/** The notation of a decoded value; maps as Map, tags as objects with `tag` and `value`. */
export function notationOf(value) {
  if (value === undefined) return { undefined: true };
  if (value === null || typeof value === "boolean") return value;
  if (typeof value === "bigint") return { int: String(value) };
  if (typeof value === "number") return numberNotation(value);
  if (typeof value === "string") return { text: value };
  if (ArrayBuffer.isView(value)) return { bytes: toHex(value) };
  if (Array.isArray(value)) return { array: value.map(notationOf) };
  if (value instanceof Map)
    return { map: [...value].map(([key, item]) => [notationOf(key), notationOf(item)]) };
  return { tag: value.tag, value: notationOf(value.value) };
}

/** The value that `notation` stands for. @param tagged makes a tagged item of (value, tag) */
export function fromNotation(notation, tagged) {
  if (notation === null || typeof notation === "boolean") return notation;
  if ("undefined" in notation) return undefined;
  if ("int" in notation) return shortInteger(BigInt(notation.int));
  if ("float" in notation) return Number(notation.float);
  if ("text" in notation) return notation.text;
  if ("bytes" in notation) return fromHex(notation.bytes);
  if ("array" in notation) return notation.array.map((item) => fromNotation(item, tagged));
  if ("map" in notation) {
    return new Map(
      notation.map.map(([key, item]) => [fromNotation(key, tagged), fromNotation(item, tagged)]),
    );
  }
  return tagged(fromNotation(notation.value, tagged), notation.tag);
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function fromHex(text) {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

function numberNotation(value) {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return { int: String(value) };
  return { float: Object.is(value, -0) ? "-0" : String(value) };
}

function shortInteger(value) {
  return Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
