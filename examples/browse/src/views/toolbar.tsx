import type { Signal } from "@preact/signals";
import { wordsOf } from "../state/question.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";
import { count, named, plural } from "./words.ts";

/** What the records below are, and how they are shown. */
export function Toolbar({
  workspace,
  areFiltersOpen,
}: {
  workspace: Workspace;
  areFiltersOpen: Signal<boolean>;
}) {
  const { listing, question, filters, view, shape, catalogue, phase } = workspace;
  const asked = question.value;
  const chosen = [...filters.value].flatMap(([facet, values]) =>
    [...values].map((value) => ({ facet, value })),
  );
  const { facets, map } = shape.value;
  return (
    <div class="toolbar">
      {facets.length > 0 && (
        <button
          type="button"
          class="button small filters-button"
          aria-expanded={areFiltersOpen.value}
          onClick={() => {
            areFiltersOpen.value = true;
          }}
        >
          <Icon name="filter" /> Filters{chosen.length > 0 ? ` (${chosen.length})` : ""}
        </button>
      )}
      <h1 class="result-count">{summary()}</h1>
      <ul class="chips" aria-label="Search and filters">
        {asked !== undefined && (
          <li>
            <button type="button" class="chip strong" onClick={() => workspace.ask(undefined)}>
              {asked.by === "picture" && <img src={asked.url} alt="" width="20" height="20" />}
              <span>
                <span class="chip-key">{asked.by === "record" ? "like" : "near"}</span>{" "}
                <bdi>{asked.by === "picture" ? asked.name : wordsOf(asked)}</bdi>{" "}
                <span class="chip-key">by {asked.field}</span>
              </span>
              <Icon name="close" />
              <span class="unseen">: end the search</span>
            </button>
          </li>
        )}
        {chosen.map(({ facet, value }) => (
          <li key={`${facet} ${value}`}>
            <button type="button" class="chip" onClick={() => workspace.toggle(facet, value)}>
              <span>
                <span class="chip-key">{facet}</span> <bdi>{named(value)}</bdi>
              </span>
              <Icon name="close" />
              <span class="unseen">: take this filter away</span>
            </button>
          </li>
        ))}
      </ul>
      {map !== undefined && (
        <fieldset class="views">
          <legend class="unseen">View</legend>
          {(["grid", "map"] as const).map((each) => (
            <button
              key={each}
              type="button"
              class="button small"
              aria-pressed={view.value === each}
              onClick={() => {
                view.value = each;
              }}
            >
              <Icon name={each} /> {each === "grid" ? "Grid" : "Map"}
            </button>
          ))}
        </fieldset>
      )}
    </div>
  );

  function summary(): string {
    if (phase.value.is === "loading model") return "Loading the text model…";
    if (phase.value.is === "searching") return "Searching…";
    const { kind, length } = listing.value;
    if (kind === "hits") return plural(length, "nearest", "nearest");
    const { rows, isRead, isCut } = catalogue.value;
    if (kind === "matching") return `${count(length)} of ${count(rows.value)}`;
    return `${plural(length, "record")}${isCut ? " and more" : isRead.value ? "" : "…"}`;
  }
}
