import { countsOf } from "../state/filters.ts";
import type { Workspace } from "../state/workspace.ts";
import { colourClass, coloursOf } from "./palette.ts";
import { count, named } from "./words.ts";

/** What the colours mean. A press filters by one. */
export function MapLegend({ workspace }: { workspace: Workspace }) {
  const { catalogue, colouredBy, filters, shape } = workspace;
  const facet = colouredBy.value;
  if (facet === undefined) return null;
  const colours = coloursOf(catalogue.value, facet);
  const counts = countsOf(catalogue.value, filters.value, facet);
  const own = counts.filter(({ value }) => colours.has(value));
  const others = counts.filter(({ value }) => !colours.has(value));
  return (
    <section class="legend" aria-label="Legend">
      {shape.value.facets.length > 1 && (
        <label class="legend-by">
          Coloured by
          <select
            value={facet}
            onChange={({ currentTarget: { value } }) => {
              colouredBy.value = value;
            }}
          >
            {shape.value.facets.map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
      <ul>
        {own.map(({ value, count: records, isChosen }) => (
          <li key={value}>
            <button
              type="button"
              class="legend-entry"
              aria-pressed={isChosen}
              onClick={() => workspace.toggle(facet, value)}
            >
              <span class={`dot ${colourClass(colours.get(value))}`} />
              <bdi>{named(value)}</bdi>
              <span class="facet-count">{count(records)}</span>
            </button>
          </li>
        ))}
        {others.length > 0 && (
          <li class="legend-entry">
            <span class="dot colour-0" />
            <span>{count(others.length)} others</span>
            <span class="facet-count">{count(others.reduce((sum, each) => sum + each.count, 0))}</span>
          </li>
        )}
      </ul>
    </section>
  );
}
