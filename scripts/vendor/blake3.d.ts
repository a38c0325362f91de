export function hash(input: Uint8Array): Uint8Array;
export function createHash(): { update(input: Uint8Array): unknown; digest(): Uint8Array; dispose(): void };
