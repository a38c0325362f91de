/** Numbers and values as people read them. */
import { cut } from "../state/cut.ts";

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const SHORT_DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const NS_A_MS = 1_000_000n;
/** Characters of one value that are shown: more would hold up the page, and who would read them. */
const LONGEST = 10_000;

export function count(n: number): string {
  return n.toLocaleString();
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function bytes(n: number): string {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${(n / 1e3).toFixed(n < 1e4 ? 1 : 0)} kB`;
  return `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`;
}

export function milliseconds(ms: number): string {
  return ms < 10
    ? `${ms.toFixed(1)} ms`
    : ms < 10_000
      ? `${ms.toFixed(0)} ms`
      : `${(ms / 1000).toFixed(1)} s`;
}

/** Unix nanoseconds as a time here. */
export function time(ns: bigint, isShort = false): string {
  const date = new Date(Number(ns / NS_A_MS));
  return Number.isNaN(date.getTime()) ? `${ns} ns` : (isShort ? SHORT_DATE : DATE).format(date);
}

/** A category: one may be the empty text. */
export function named(category: string): string {
  return category.trim() === "" ? "(blank)" : category;
}

/** A scalar, whatever its kind, in at most `most` characters. */
export function value(found: unknown, kind?: string, most = LONGEST): string {
  if (found === undefined) return "–";
  if (kind === "timestamp" && typeof found === "bigint") return time(found);
  if (typeof found === "number" && !Number.isInteger(found)) return found.toPrecision(5);
  if (typeof found === "boolean") return found ? "yes" : "no";
  return cut(String(found), most);
}

export function distance(found: number): string {
  return Math.abs(found) < 10 ? found.toFixed(3) : found.toPrecision(4);
}

/** A name as data has it, for a heading. */
export function heading(name: string): string {
  const words = name.replaceAll(/[_-]+/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
