/** The vectors' notation of CBOR values (conformance/notation.mjs), typed. */
import { Tagged, type Tagged as TaggedItem } from "../../src/core/cbor.ts";

const path = "../../conformance/notation.mjs";
const shared: {
  notationOf(value: unknown): unknown;
  fromNotation(notation: unknown, tagged: (value: unknown, tag: number) => TaggedItem): unknown;
} = await import(path);

/** Equal for two values exactly when they are the same CBOR value; tells 0 from -0 and 1 from 1n only as CBOR does. */
export const { notationOf } = shared;

export function fromNotation(notation: unknown): unknown {
  return shared.fromNotation(notation, (value, tag) => new Tagged(value, tag));
}
