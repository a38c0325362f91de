// What the quickstart prints: chapters with their times, progress bars, tables.

import { SingleBar } from "cli-progress";

const chapters = [];

/** Starts a chapter of the story, and with that ends the one before. */
export function chapter(title) {
  endChapter();
  chapters.push({ title, startMs: performance.now(), seconds: 0 });
  console.log(`\n${bold(title)}`);
}

function endChapter() {
  const current = chapters.at(-1);
  if (current) current.seconds = (performance.now() - current.startMs) / 1000;
}

/** Prints how long each chapter took; `earlier` are steps that ran before this program. */
export function printTimes(earlier = []) {
  endChapter();
  const steps = [...earlier, ...chapters];
  const total = steps.reduce((sum, { seconds }) => sum + seconds, 0);
  console.log(`\n${bold("Seconds")}`);
  for (const { title, seconds } of [...steps, { title: "Total", seconds: total }]) {
    console.log(`  ${seconds.toFixed(2).padStart(6)}  ${title}`);
  }
}

/**
 * Goes through `items`, `batchSize` at a time, and shows how far it is: a bar on a terminal, plain lines in a log.
 * @param {(batch: any[]) => Promise<unknown>} work
 */
export async function inBatches(label, items, batchSize, work) {
  const bar = process.stdout.isTTY
    ? new SingleBar({ format: `  ${label} {bar} {value}/{total}`, stream: process.stdout, barsize: 30 })
    : undefined;
  bar?.start(items.length, 0);
  for (let from = 0; from < items.length; from += batchSize) {
    await work(items.slice(from, from + batchSize));
    bar?.update(Math.min(from + batchSize, items.length));
  }
  bar?.stop();
  if (!bar) console.log(`  ${label}: ${items.length} of ${items.length}`);
}

export function say(text) {
  console.log(`  ${text}`);
}

/** Prints rows of cells under a head; numbers stand right. */
export function printTable(head, rows) {
  const texts = rows.map((row) => row.map(String));
  const widths = head.map((title, i) => Math.max(title.length, ...texts.map((row) => row[i].length)));
  const isNumber = head.map((_, i) => rows.every((row) => /^[\d.,]+$/.test(row[i])));
  const line = (cells) =>
    cells
      .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join("   ")
      .trimEnd();
  console.log(`\n  ${dim(line(head))}`);
  for (const row of texts) console.log(`  ${line(row)}`);
}

const styled = process.stdout.isTTY && !process.env.NO_COLOR;

function bold(text) {
  return styled ? `\x1b[1m${text}\x1b[0m` : text;
}

function dim(text) {
  return styled ? `\x1b[2m${text}\x1b[0m` : text;
}
