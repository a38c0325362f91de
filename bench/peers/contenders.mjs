// Who is measured. Each module gives:
//   variants({ dim, count })           [{ name, parameters }]: ways to index this data set
//   settings({ name, dim, count, parameters })  [{ label, … }]: what a search can trade speed for recall by
//   build(data, directory, parameters, name)  { ingest?(), index(), save() }: `index` is what counts as building
//   open(data, directory, parameters, name)   { use(setting), search(query) → ids or a promise of them, firstId? }
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export const CONTENDERS = {
  DreamDB: { load: () => import("./dreamdb.mjs"), ours: true },
  "faiss-node": { load: () => import("./faiss.mjs"), package: "faiss-node" },
  "hnswlib-node": { load: () => import("./hnswlib.mjs"), package: "hnswlib-node" },
  usearch: { load: () => import("./usearch.mjs"), package: "usearch" },
  LanceDB: { load: () => import("./lancedb.mjs"), package: "@lancedb/lancedb" },
  "plain JS": { load: () => import("./plain.mjs") },
};

/** What stands in the way of measuring a contender here, or undefined. */
export async function absence(name) {
  const { load, package: dependency } = CONTENDERS[name];
  const module = await load();
  if (module.source !== undefined) return module.source() === undefined ? "did not install here" : undefined;
  if (dependency === undefined) return undefined;
  try {
    require.resolve(dependency);
    return undefined;
  } catch {
    return "not installed";
  }
}

/** Name, version and, where it is not the package as it comes, its source. */
export async function describe(name) {
  const { load, package: dependency } = CONTENDERS[name];
  if (dependency === undefined) return name;
  const module = await load();
  const origin = module.source?.() ?? "npm";
  const folder = origin === "npm" ? `./node_modules/${dependency}` : `./faiss/node_modules/${dependency}`;
  const { version } = require(`${folder}/package.json`);
  return `${dependency} ${version}${origin === "npm" ? "" : ` (${origin})`}`;
}
