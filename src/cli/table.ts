/** Aligned columns of text. */
import { printable, type Style } from "./terminal.ts";
import { toText } from "./text.ts";

export interface TableColumn {
  title: string;
  align?: "left" | "right";
}

const GAP = "  ";
const MAX_CELL_CHARS = 64;

/** @param rows one value per column; whatever they are, each becomes one line's worth of harmless text */
export function table(
  columns: readonly TableColumn[],
  rows: readonly (readonly unknown[])[],
  style: Style,
): string {
  const cells = rows.map((row) => columns.map((_, i) => cellOf(row[i])));
  const widths = columns.map((column, i) =>
    Math.max(width(column.title), ...cells.map((row) => width(row[i] as string))),
  );
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, i) => pad(text, widths[i] as number, columns[i]?.align))
      .join(GAP)
      .trimEnd();
  const head = line(columns.map((column) => column.title));
  return [style.bold(head), ...cells.map(line)].join("\n");
}

/** `name  value` lines. */
export function pairs(entries: readonly (readonly [string, unknown])[], style: Style): string {
  const longest = Math.max(...entries.map(([name]) => width(name)));
  return entries
    .map(([name, value]) => style.dim(pad(name, longest)) + GAP + printable(toText(value)))
    .join("\n");
}

function cellOf(value: unknown): string {
  const chars = [...printable(toText(value))];
  return chars.length > MAX_CELL_CHARS ? `${chars.slice(0, MAX_CELL_CHARS - 1).join("")}…` : chars.join("");
}

function pad(text: string, to: number, align: TableColumn["align"] = "left"): string {
  const space = " ".repeat(Math.max(0, to - width(text)));
  return align === "right" ? space + text : text + space;
}

function width(text: string): number {
  return [...text].length;
}
