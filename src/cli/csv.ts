/** Comma- and tab-separated values (RFC 4180). */
import { DreamDBError } from "../index.node.ts";

export interface CsvRow {
  /** Line that the row begins on, from 1. */
  line: number;
  cells: string[];
}

/** A cell at the current place: quoted, with quotes inside doubled, or plain; and what ends it. */
const cellPattern = (separator: string): RegExp =>
  new RegExp(`(?:"((?:[^"]|"")*)"|([^"${separator}\\r\\n]*))(${separator}|\\r\\n|\\n|\\r|$)`, "y");

/**
 * All rows with their cells; empty lines are left out. Every row has as many cells as the first.
 * Errors: `InvalidArgument` with the line, for stray or unclosed quotes and for rows of another length.
 */
export function parseCsv(text: string, separator: "," | "\t" = ","): CsvRow[] {
  const pattern = cellPattern(separator);
  const rows: CsvRow[] = [];
  let row: CsvRow = { line: 1, cells: [] };
  let line = 1;
  pattern.lastIndex = text.startsWith("\ufeff") ? 1 : 0;
  while (pattern.lastIndex < text.length || row.cells.length > 0) {
    const found = pattern.exec(text);
    if (found === null)
      throw broken(line, "a stray or unclosed quote", "cells with quotes quoted, and quotes inside doubled");
    const [, quoted, plain = "", end] = found;
    row.cells.push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    line += quoted?.match(/\r\n|\r|\n/g)?.length ?? 0;
    if (end === separator) continue;
    if (row.cells.length > 1 || plain !== "" || quoted !== undefined) rows.push(checkLength(row, rows[0]));
    line++;
    row = { line, cells: [] };
  }
  return rows;
}

function checkLength(row: CsvRow, first: CsvRow | undefined): CsvRow {
  const expected = first?.cells.length ?? row.cells.length;
  if (row.cells.length === expected) return row;
  throw broken(row.line, `${row.cells.length} cells`, `${expected} cells, as in the header`);
}

function broken(line: number, found: string, expected: string): DreamDBError {
  return new DreamDBError("InvalidArgument", `line ${line} is not well-formed CSV`, { found, expected });
}
