// Runs every measurement of this folder, one after the other. `npm run bench`
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
if (!existsSync(`${here}node_modules`)) {
  console.log("installing the word vectors (300 MB, once)…");
  spawnSync("npm", ["ci", "--silent"], { cwd: here, stdio: "inherit" });
}
for (const name of ["kernels", "ingest", "appends", "stream", "filters", "first-query"]) {
  console.log(`\n── ${name}`);
  const { status } = spawnSync(process.execPath, [`${here}${name}.mjs`], { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
