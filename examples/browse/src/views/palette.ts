/** Colours of categories: the most frequent of a dataset have one each, in tokens.css; all others share one. */
import type { Catalogue } from "../state/catalogue.ts";
import { countsOf, NO_FILTERS } from "../state/filters.ts";

export const COLOURS = 10;

const known = new WeakMap<Catalogue, Map<string, { rows: number; colours: Map<string, number> }>>();

/** The number of each frequent value's colour, from 1. Stays as it is while filters change. */
export function coloursOf(catalogue: Catalogue, facet: string): Map<string, number> {
  const kept = known.get(catalogue) ?? new Map();
  known.set(catalogue, kept);
  const rows = catalogue.rows.value;
  const found = kept.get(facet);
  if (found?.rows === rows) return found.colours;
  const frequent = countsOf(catalogue, NO_FILTERS, facet).slice(0, COLOURS);
  const colours = new Map(frequent.map(({ value }, i) => [value, i + 1]));
  kept.set(facet, { rows, colours });
  return colours;
}

export function colourClass(number: number | undefined): string {
  return `colour-${number ?? 0}`;
}
