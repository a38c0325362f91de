/** What people see: colours where they belong, and no byte that would drive their terminal. */

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
}

const PLAIN: Style = { bold: (text) => text, dim: (text) => text, red: (text) => text };
const COLOURED: Style = {
  bold: (text) => sgr(1, 22, text),
  dim: (text) => sgr(2, 22, text),
  red: (text) => sgr(31, 39, text),
};

/** Colours only on a terminal, and never with NO_COLOR set (no-color.org). */
export function styleFor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): Style {
  const wanted = stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  return wanted ? COLOURED : PLAIN;
}

function sgr(on: number, off: number, text: string): string {
  return `\u001b[${on}m${text}\u001b[${off}m`;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Stored text made harmless: control characters and direction marks as \u escapes. */
export function printable(text: string): string {
  return text.replace(CONTROL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A reader that goes away, as in `dreamdb query … | head -1`, ends the output quietly. */
export function surviveClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      // Work that is under way still finishes: a closed stdout must not cut an ingest short.
    });
  }
}
