// Copies a dataset's backend, key by key: to another backend, or to plain files for any web server. See HELP.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { openStore } from "@dreamlake/dreamdb";
import { step } from "./progress.mjs";

const HELP = `Copies all keys of a backend.

  node prepare/copy.mjs FROM TO             to another backend: a directory, s3://bucket/prefix, https://host/bucket
  node prepare/copy.mjs FROM --files DIR    to files under DIR, each under its key, for a web server to serve
`;

/** Keys that are copied at once. */
const ABREAST = 16;

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { files: { type: "string" }, help: { type: "boolean" } },
  });
  if (values.help) return void process.stdout.write(HELP);
  const [from, to, ...more] = positionals;
  if (from === undefined || more.length > 0 || (to === undefined) === (values.files === undefined))
    throw new Error(`expected FROM and either TO or --files DIR\n\n${HELP}`);
  const source = openStore(from, { readOnly: true });
  const target = to === undefined ? files(values.files) : openStore(to);

  const progress = step(`Copy ${from}`);
  const objects = [];
  const others = []; // refs last: nobody finds one before what it names
  for await (const { key } of source.list("")) (key.startsWith("objects/") ? objects : others).push(key);
  if (others.length === 0) throw new Error(`${from}: no dataset is there`);
  let done = 0;
  for (const keys of [objects, others]) {
    const next = keys.values();
    const copyEach = async () => {
      for (const key of next) {
        const found = await source.get(key);
        if (found !== undefined) await target.put(key, found.bytes);
        progress.at(++done / (objects.length + others.length));
      }
    };
    await Promise.all(Array.from({ length: ABREAST }, copyEach));
  }
  await Promise.all([source.close?.(), target.close?.()]);
  progress.done(`${done} keys`);
}

function files(folder) {
  return {
    async put(key, bytes) {
      const path = join(folder, key);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, bytes);
    },
  };
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
