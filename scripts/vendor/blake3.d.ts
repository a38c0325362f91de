export const CORE_FROM_BYTES: number;
export function hash(input: Uint8Array): Uint8Array;
