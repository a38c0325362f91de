/** The part of cbor-x that src/core/cbor.ts uses. */
export class Encoder {
  constructor(options: Record<string, boolean>);
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

/** A tagged item. */
export class Tag {
  constructor(value: unknown, tag: number);
  value: unknown;
  tag: number;
}
