// What anyone writes first: a loop over all vectors in JavaScript, and the best ten kept by insertion.
import { readFileSync, writeFileSync } from "node:fs";

const K = 10;

export function variants() {
  return [{ name: "", parameters: {} }];
}

export function settings() {
  return [{ label: "exact" }];
}

export async function build({ rows }, directory) {
  return { index() {}, save: () => writeFileSync(`${directory}/rows`, rows) };
}

export async function open({ dim }, directory) {
  const bytes = readFileSync(`${directory}/rows`);
  const rows = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  return { use() {}, search: (query) => nearest(rows, dim, query) };
}

function nearest(rows, dim, query) {
  const ids = new Int32Array(K).fill(-1);
  const scores = new Float64Array(K).fill(-Infinity);
  for (let row = 0, at = 0; at < rows.length; row++, at += dim) {
    let score = 0;
    for (let k = 0; k < dim; k++) score += rows[at + k] * query[k];
    if (score <= scores[K - 1]) continue;
    let place = K - 1;
    while (place > 0 && scores[place - 1] < score) {
      scores[place] = scores[place - 1];
      ids[place] = ids[place - 1];
      place--;
    }
    scores[place] = score;
    ids[place] = row;
  }
  return ids;
}
