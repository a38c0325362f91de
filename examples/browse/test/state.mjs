// What needs no browser: the page's own modules, loaded as Vite does.
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";
import { equal, ok, test } from "./harness.mjs";

const load = async (path) =>
  (await runnerImport(fileURLToPath(new URL(`../src/${path}`, import.meta.url)), { configFile: false }))
    .module;

test("a text of any length is cut, and not within a character", async () => {
  const { cut } = await load("state/cut.ts");
  equal(cut("short", 5), "short");
  equal(cut("longer", 5), "longe…");
  equal(cut("ab\u{1f600}c", 3), "ab…");
  equal(cut("ab\u{1f600}cd", 4), "ab\u{1f600}…");
});

test("an address has a backend and a name, be it of a ref or of a Manifest", async () => {
  const { labelOf, parseDatasetUrl } = await load("state/dataset-url.ts");
  const manifest = "dyqfab5oyx2n6dxqsuyaaocrg2xqmpzq6s4zoxqecn7wg4qd6fgnrxy";
  const backend = "https://host/bucket";
  equal(parseDatasetUrl(`${backend}/refs/a/b/`), { backend, name: "a/b" });
  equal(parseDatasetUrl(`${backend}/refs/refs/x`), { backend: `${backend}/refs`, name: "x" });
  equal(parseDatasetUrl(`${backend}/objects/ab/${manifest}`), { backend, manifest });
  equal(parseDatasetUrl(backend), undefined);
  equal(labelOf(`${backend}/refs/a/b`), "a/b");
  equal(labelOf(`${backend}/objects/ab/${manifest}`), "dyqfab5oyx2n…");
  equal(labelOf("nonsense"), "nonsense");
});

const ROWS_AT_ONCE = 1024;
const BATCHES = 240;

/** A Space of many records, as far as a catalogue goes: titles of some length, and two categories. */
function spaceOf(titleOf, { few, many }) {
  return {
    async *stream() {
      for (let batch = 0; batch < BATCHES; batch++) {
        // As from a worker: one task each.
        await new Promise((resolve) => setImmediate(resolve));
        const rows = Array.from({ length: ROWS_AT_ONCE }, (_, i) => batch * ROWS_AT_ONCE + i);
        yield {
          _time_anchors: rows.map(BigInt),
          title: rows.map(titleOf),
          few: rows.map(few),
          many: rows.map(many),
        };
      }
    },
  };
}

const SHAPE = { title: "title", facets: ["few", "many"], map: undefined };

test("a catalogue bounds what hostile text takes, and counts what it does not offer", async () => {
  const { Catalogue, MOST_VALUES, TITLE_LENGTH, VALUE_LENGTH } = await load("state/catalogue.ts");
  const { countsOf, NO_FILTERS } = await load("state/filters.ts");
  const long = "long ".repeat(20_000);
  const catalogue = new Catalogue(SHAPE);
  const values = {
    few: (row) => (row < 10 ? `${long}${row}` : `value ${row % 3}`),
    many: (row) => `value ${row}`,
  };
  await catalogue.read(
    spaceOf((row) => (row % 1000 === 0 ? long : `Title ${row}`), values),
    SHAPE,
  );
  const rows = catalogue.rows.value;
  equal(rows, BATCHES * ROWS_AT_ONCE);
  equal(catalogue.titles[1], "Title 1");
  equal(catalogue.titles[1000].length, TITLE_LENGTH + 1);
  ok(
    catalogue.facets.get("few").values.every(({ length }) => length <= VALUE_LENGTH),
    "long values",
  );
  equal(catalogue.facets.get("few").others, 10);
  equal(catalogue.facets.get("many").values.length, MOST_VALUES + 1);
  equal(catalogue.facets.get("many").others, rows - MOST_VALUES);
  const sum = (facet, filters) =>
    countsOf(catalogue, filters, facet).reduce((all, { count }) => all + count, 0);
  equal(sum("few", NO_FILTERS), rows - 10);
  equal(sum("many", NO_FILTERS), MOST_VALUES);
  const [{ value, count }] = countsOf(catalogue, NO_FILTERS, "few");
  equal(sum("few", new Map([["few", new Set([value])]])), rows - 10, "its own filter counts for nothing");
  ok(
    Math.abs(sum("many", new Map([["few", new Set([value])]])) - (MOST_VALUES * count) / rows) < 10,
    "under a filter",
  );
});

test("a catalogue that is being read has the page count anew four times a second, and not with every batch", async () => {
  const { Catalogue } = await load("state/catalogue.ts");
  const catalogue = new Catalogue(SHAPE);
  const told = [];
  const stop = catalogue.rows.subscribe((rows) => told.push(rows));
  const began = performance.now();
  const values = { few: (row) => `value ${row % 3}`, many: (row) => `value ${row % 100}` };
  await catalogue.read(
    spaceOf((row) => `Title ${row}`, values),
    SHAPE,
  );
  stop();
  const most = Math.ceil((performance.now() - began) / 250) + 3;
  equal(told.slice(0, 2), [0, ROWS_AT_ONCE], "the first batch at once");
  equal(told.at(-1), BATCHES * ROWS_AT_ONCE);
  ok(told.length <= most, `told ${told.length} times, at most ${most} expected`);
});

test("a long listing scrolls by pixels where a wheel moves it, and by parts where the bar is drawn", async () => {
  const { boxHeight, MOST_HEIGHT, scrollAt, scrolledTo } = await load("views/long-scroll.ts");
  const short = { whole: 100_000, view: 800 };
  equal(boxHeight(short.whole), short.whole);
  equal(scrolledTo({ top: 0, bar: 0 }, 99_200, short), { top: 99_200, bar: 99_200 });
  equal(scrollAt(5000, short), { top: 5000, bar: 5000 });
  const long = { whole: 34_000_000, view: 800 };
  const [end, barEnd] = [long.whole - long.view, MOST_HEIGHT - long.view];
  equal(boxHeight(long.whole), MOST_HEIGHT);
  equal(scrolledTo({ top: 0, bar: 0 }, 120, long), { top: 120, bar: 120 });
  equal(scrolledTo({ top: 0, bar: 0 }, barEnd, long), { top: end, bar: barEnd }, "drawn to the end");
  equal(scrollAt(end, long), { top: end, bar: barEnd });
  // By the wheel alone, from a page before the end and back: each row comes by.
  for (const [from, step] of [
    [end - 5000, 100],
    [5000, -100],
    [end / 2, 100],
  ]) {
    let at = scrollAt(from, long);
    for (let i = 0; i < 60; i++) {
      const bar = Math.max(0, Math.min(barEnd, at.bar + step));
      const next = scrolledTo(at, bar, long);
      ok(Math.abs(next.top - at.top) <= 100, `from ${at.top} to ${next.top}`);
      at = next;
    }
    const expected = from === end / 2 ? end / 2 + 6000 : step > 0 ? end : 0;
    equal(Math.round(at.top), expected, "where the wheel brings it");
  }
});
