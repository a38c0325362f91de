import type { Where } from "@dreamlake/dreamdb/space";
import type { Catalogue, FacetColumn } from "./catalogue.ts";

/** Values that were chosen, by facet. Of one facet any will do; all facets have to hold. */
export type Filters = ReadonlyMap<string, ReadonlySet<string>>;

export const NO_FILTERS: Filters = new Map();

const IN_ORDER = new Intl.Collator();

export function toggled(filters: Filters, facet: string, value: string): Filters {
  const values = new Set(filters.get(facet));
  if (!values.delete(value)) values.add(value);
  const next = new Map(filters);
  if (values.size === 0) next.delete(facet);
  else next.set(facet, values);
  return next;
}

export function without(filters: Filters, facet: string): Filters {
  const next = new Map(filters);
  next.delete(facet);
  return next;
}

/** As the library takes them; undefined when all records pass. */
export function whereOf(filters: Filters, booleans: ReadonlySet<string>): Where | undefined {
  if (filters.size === 0) return undefined;
  const typed = (facet: string, value: string) => (booleans.has(facet) ? value === "true" : value);
  const tests = [...filters].map(([facet, values]) => [
    facet,
    { in: [...values].map((value) => typed(facet, value)) },
  ]);
  return Object.fromEntries(tests) as Where;
}

export interface FacetCount {
  value: string;
  count: number;
  isChosen: boolean;
}

/** Which rows pass all facets but one: what can be chosen further in that one. */
function passes(catalogue: Catalogue, filters: Filters, besides: string): (row: number) => boolean {
  const tests = [...filters]
    .filter(([facet]) => facet !== besides)
    .flatMap(([facet, values]) => {
      const column = catalogue.facets.get(facet);
      if (column === undefined) return [];
      const allowed = column.values.map((value, code) => code > 0 && values.has(value));
      return [(row: number) => allowed[column.codes[row] ?? 0] === true];
    });
  return (row) => tests.every((test) => test(row));
}

/** The values of a facet with how many records have each under the other facets' filters, the most frequent first. */
export function countsOf(catalogue: Catalogue, filters: Filters, facet: string): FacetCount[] {
  const column = catalogue.facets.get(facet);
  if (column === undefined) return [];
  const rows = catalogue.rows.value;
  const isFree = [...filters.keys()].every((each) => each === facet);
  const counts = isFree ? column.counts : countsAmong(column, rows, passes(catalogue, filters, facet));
  const chosen = filters.get(facet);
  return column.values
    .map((value, code) => ({ value, count: counts[code] as number, isChosen: chosen?.has(value) === true }))
    .slice(1)
    .filter(({ count, isChosen }) => count > 0 || isChosen)
    .sort((a, b) => b.count - a.count || IN_ORDER.compare(a.value, b.value));
}

function countsAmong({ values, codes }: FacetColumn, rows: number, isIn: (row: number) => boolean) {
  const counts = new Uint32Array(values.length);
  for (let row = 0; row < rows; row++) if (isIn(row)) counts[codes[row] as number]!++;
  return counts;
}

/** A byte for each row: whether it passes all facets. */
export function passing(catalogue: Catalogue, filters: Filters): Uint8Array {
  const isIn = passes(catalogue, filters, "");
  return Uint8Array.from({ length: catalogue.rows.value }, (_, row) => Number(isIn(row)));
}
