/** What of the application's state its address tells, so that it can be shared and gone back to. */
import { type Filters, NO_FILTERS } from "./filters.ts";

export type View = "grid" | "map";

export interface Place {
  /** URL of a ref or Manifest. */
  open?: string | undefined;
  /** Manifest of a past state. */
  at?: string | undefined;
  view: View;
  /** A search: in which field, by a text or by a record. Those by pictures can't be told. */
  field?: string | undefined;
  text?: string | undefined;
  like?: bigint | undefined;
  /** The record whose details are shown. */
  record?: bigint | undefined;
  filters: Filters;
}

const FILTER = "where.";

export function parsePlace(search: string): Place {
  const params = new URLSearchParams(search);
  const filters = new Map<string, Set<string>>();
  for (const [key, value] of params) {
    if (!key.startsWith(FILTER)) continue;
    const facet = key.slice(FILTER.length);
    filters.set(facet, new Set(filters.get(facet)).add(value));
  }
  const text = (key: string) => params.get(key) || undefined;
  return {
    open: text("open"),
    at: text("at"),
    view: params.get("view") === "map" ? "map" : "grid",
    field: text("field"),
    text: text("q"),
    like: anchorOf(params.get("like")),
    record: anchorOf(params.get("record")),
    filters: filters.size === 0 ? NO_FILTERS : filters,
  };
}

export function formatPlace({ open, at, view, field, text, like, record, filters }: Place): string {
  const params = new URLSearchParams();
  const set = (key: string, value: unknown) => value !== undefined && params.set(key, String(value));
  set("open", open);
  set("at", at);
  set("view", view === "grid" ? undefined : view);
  set("field", field);
  set("q", text);
  set("like", like);
  for (const [facet, values] of filters)
    for (const value of values) params.append(`${FILTER}${facet}`, value);
  set("record", record);
  const query = params.toString();
  return query === "" ? location.pathname : `?${query}`;
}

function anchorOf(text: string | null): bigint | undefined {
  return text !== null && /^-?\d{1,20}$/.test(text) ? BigInt(text) : undefined;
}
