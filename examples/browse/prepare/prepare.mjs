// Makes the bucket that the page opens: node prepare/prepare.mjs [options], see HELP.
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeEmoji } from "./emoji.mjs";
import { makeGlosses } from "./glosses.mjs";

export const DEFAULTS = {
  bucket: fileURLToPath(new URL("../out/bucket/", import.meta.url)),
  emoji: 1911,
  glosses: 8000,
};
const SMALL = { emoji: 200, glosses: 300 };
const ALL_GLOSSES = 117_791;

const HELP = `Makes a bucket with two datasets: emoji (pictures) and glosses (what words mean).

  --bucket DIR    where; default examples/browse/out/bucket. What is there is replaced, if this program made it
  --emoji N       so many emoji, at most ${DEFAULTS.emoji}, the default
  --glosses N     so many glosses, the most used first; default ${DEFAULTS.glosses}, at most ${ALL_GLOSSES}
  --small         ${SMALL.emoji} emoji and ${SMALL.glosses} glosses, for tests
`;

/** Says that the directory is this program's, and of what it was made. */
const STAMP = "prepared.json";

/**
 * Makes the bucket unless it is there, made by these programs with these options.
 * @param {{ bucket?: string, emoji?: number, glosses?: number }} options
 * @returns {Promise<string>} the directory
 */
export async function prepare({
  bucket = DEFAULTS.bucket,
  emoji = DEFAULTS.emoji,
  glosses = DEFAULTS.glosses,
} = {}) {
  const stamp = JSON.stringify({ emoji, glosses, programs: await fingerprint() });
  const found = await readFile(join(bucket, STAMP), "utf8").catch(() => undefined);
  if (found === stamp) return bucket;
  const entries = await readdir(bucket).catch(() => []);
  if (found === undefined && entries.length > 0)
    throw new Error(
      `${bucket} is not empty and was not made by this program: name another directory with --bucket`,
    );

  await rm(bucket, { recursive: true, force: true });
  await mkdir(bucket, { recursive: true });
  await writeFile(join(bucket, STAMP), "not finished");
  await makeEmoji(bucket, { count: emoji });
  await makeGlosses(bucket, { count: glosses });
  await writeFile(join(bucket, STAMP), stamp);
  return bucket;
}

/** Changes with what makes the bucket. The library is not among it: later versions read what earlier ones wrote. */
async function fingerprint() {
  const hash = createHash("sha256");
  const here = new URL("./", import.meta.url);
  const names = (await readdir(here)).filter((name) => name.endsWith(".mjs")).sort();
  for (const name of [
    ...names,
    "../package-lock.json",
    "../src/models/encoder.mjs",
    "../../quickstart/descriptor.mjs",
  ])
    hash.update(await readFile(new URL(name, here)));
  return hash.digest("hex").slice(0, 16);
}

/** The value of an option that is a number. @throws when it is none, or out of range */
export function count(name, text, most) {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new Error(`--${name} ${text}: expected a whole number, 1 to ${most}`);
  return value;
}

/** Options that both this program and the demo take. */
export const DATA_OPTIONS = {
  bucket: { type: "string" },
  emoji: { type: "string" },
  glosses: { type: "string" },
  small: { type: "boolean" },
};

export function dataOptions(values) {
  const sizes = values.small ? SMALL : DEFAULTS;
  return {
    bucket: values.bucket === undefined ? DEFAULTS.bucket : resolve(values.bucket),
    emoji: values.emoji === undefined ? sizes.emoji : count("emoji", values.emoji, DEFAULTS.emoji),
    glosses: values.glosses === undefined ? sizes.glosses : count("glosses", values.glosses, ALL_GLOSSES),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { values } = parseArgs({ options: { ...DATA_OPTIONS, help: { type: "boolean" } } });
    if (values.help) process.stdout.write(HELP);
    else console.log(`The bucket is ${await prepare(dataOptions(values))}`);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
