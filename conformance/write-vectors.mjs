import { writeFileSync } from "node:fs";

/** Writes a vector file of this directory: a line for each case, so that a change shows as one. */
export function writeVectors(name, { about, ...lists }) {
  const parts = [`  "about": ${JSON.stringify(about)}`];
  for (const [key, rows] of Object.entries(lists)) {
    parts.push(`  "${key}": [\n${rows.map((row) => `    ${JSON.stringify(row)}`).join(",\n")}\n  ]`);
  }
  writeFileSync(new URL(name, import.meta.url), `{\n${parts.join(",\n")}\n}\n`);
}
