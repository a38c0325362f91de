// The emoji of `emoji-datasource-google` (Google's Noto pictures), with the keywords of `emojilib`, as releases of Unicode's.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const require = createRequire(import.meta.url);

/** When each release came out. The first two had no number then: they are the emoji of Unicode 6.0 and 7.0. */
export const RELEASES = [
  ["0.6", "2010-10-11"],
  ["0.7", "2014-06-16"],
  ["1.0", "2015-06-09"],
  ["2.0", "2015-11-12"],
  ["3.0", "2016-06-03"],
  ["4.0", "2016-11-22"],
  ["5.0", "2017-06-20"],
  ["11.0", "2018-06-05"],
  ["12.0", "2019-03-05"],
  ["12.1", "2019-10-21"],
  ["13.0", "2020-03-10"],
  ["13.1", "2020-09-15"],
  ["14.0", "2021-09-14"],
  ["15.0", "2022-09-13"],
  ["15.1", "2023-09-12"],
  ["16.0", "2024-09-10"],
];

/**
 * @param {number} count how many, taken evenly from all
 * @returns {Promise<{ name: string, emoji: string, keywords: string, category: string, subcategory: string, release: string, image: Uint8Array }[]>}
 *   in the order of the releases, within each in Unicode's; `image`: a 64 × 64 PNG
 */
export async function loadEmoji(count) {
  const folder = dirname(require.resolve("emoji-datasource-google/package.json"));
  const keywords = require("emojilib/dist/emoji-en-US.json");
  const all = JSON.parse(await readFile(join(folder, "emoji.json"), "utf8"));
  const order = RELEASES.map(([release]) => release);
  const unknown = all.find(({ added_in }) => !order.includes(added_in));
  if (unknown) throw new Error(`${unknown.name}: a release ${unknown.added_in} that has no date here`);
  all.sort((a, b) => order.indexOf(a.added_in) - order.indexOf(b.added_in) || a.sort_order - b.sort_order);
  const chosen = all.filter(
    (_, i) => Math.floor((i * count) / all.length) !== Math.floor(((i - 1) * count) / all.length),
  );
  return Promise.all(
    chosen.map(async ({ name, unified, short_names, category, subcategory, added_in, image }) => {
      const emoji = String.fromCodePoint(...unified.split("-").map((code) => Number.parseInt(code, 16)));
      const words = keywords[emoji] ?? keywords[emoji.replaceAll("\ufe0f", "")] ?? [];
      return {
        name: readableName(name),
        emoji,
        keywords: [...new Set([...short_names, ...words].map(readableWord))]
          .filter((word) => /\p{L}/u.test(word))
          .join(", "),
        category,
        subcategory,
        release: added_in,
        image: await readFile(join(folder, "img/google/64", image)),
      };
    }),
  );
}

/** Unicode names are in capitals ("CAT FACE"); flags already read well ("France Flag"). */
function readableName(name) {
  return name === name.toUpperCase() ? name[0] + name.slice(1).toLowerCase() : name;
}

function readableWord(word) {
  return word.replaceAll(/[_-]/g, " ");
}
