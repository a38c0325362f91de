import { spawnSync } from "node:child_process";

/** BLAKE3-256 in hexadecimal, by the program `b3sum`. */
export function b3sum(bytes) {
  const { status, stdout } = spawnSync("b3sum", ["--no-names"], { input: bytes, encoding: "utf8" });
  if (status !== 0) throw new Error("b3sum is not installed (Debian: apt-get install b3sum)");
  return stdout.trim();
}
