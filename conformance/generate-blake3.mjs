// Writes blake3.json, with digests by the program `b3sum`, which is the reference implementation's own. Lengths are
// those of the official vectors, and some round the sizes this library treats differently.
import { b3sum } from "./b3sum.mjs";
import { writeVectors } from "./write-vectors.mjs";

const official = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 2048, 2049, 3072, 3073, 4096, 4097,
  5120, 5121, 6144, 6145, 7168, 7169, 8192, 8193, 16384, 31744, 102400,
];
const ours = [
  4095, 65535, 65536, 65537, 262144, 262145, 327680, 1048576, 1048577, 8388607, 8388608, 8388609, 9000000,
];

const lengths = [...official, ...ours].sort((a, b) => a - b);
const input = Uint8Array.from({ length: Math.max(...lengths) }, (_, i) => i % 251);
writeVectors("blake3.json", {
  about: "BLAKE3-256, unkeyed, of the first `length` bytes of the pattern i mod 251 (0, 1, … 250, 0, 1, …).",
  cases: lengths.map((length) => ({ length, hash: b3sum(input.subarray(0, length)) })),
});
