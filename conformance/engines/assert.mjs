// The part of node:assert that the checks use, for engines without Node's modules. An import of anything else fails
// when the program is bundled.

/** Equal types, values and keys, all the way down; 0 and -0 differ, NaN equals itself. */
export function deepStrictEqual(found, expected) {
  const path = differing(found, expected, "");
  if (path === undefined) return;
  throw new Error(`found ${shown(found)}, expected ${shown(expected)}${path === "" ? "" : `, at ${path}`}`);
}

export function ok(value, message = `${shown(value)} is not true`) {
  if (!value) throw new Error(message);
}

/** Where the two first differ, as a path; undefined when nowhere. */
function differing(found, expected, path) {
  if (Object.is(found, expected)) return undefined;
  if (!isObject(found) || !isObject(expected)) return path;
  if (Object.getPrototypeOf(found) !== Object.getPrototypeOf(expected)) return path;
  // Their content is in no keys.
  if (found instanceof Map || found instanceof Set || found instanceof Date)
    throw new Error(`${path}: such objects are not compared here`);
  const keys = Object.keys(expected);
  if (Object.keys(found).length !== keys.length) return path;
  for (const key of keys) {
    if (!Object.hasOwn(found, key)) return `${path}/${key}`;
    const inside = differing(found[key], expected[key], `${path}/${key}`);
    if (inside !== undefined) return inside;
  }
  return undefined;
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}

function shown(value) {
  const text =
    JSON.stringify(value, (_, item) => (typeof item === "bigint" ? `${item}n` : item)) ?? "undefined";
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
