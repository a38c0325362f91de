import { type Signal, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { countsOf } from "../state/filters.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";
import { isNarrow } from "./narrow.ts";
import { colourClass, coloursOf } from "./palette.ts";
import { count, heading, named, plural } from "./words.ts";

const FEW = 8;
/** Values beyond these are found by a part of them. */
const MOST = 200;

/** Filters by category: beside the records, or over them on a phone. */
export function Facets({ workspace, isOpen }: { workspace: Workspace; isOpen: Signal<boolean> }) {
  const { shape, filters } = workspace;
  const close = useRef<HTMLButtonElement>(null);
  const isSheet = isNarrow.value;
  useSignalEffect(() => {
    if (isOpen.value) requestAnimationFrame(() => close.current?.focus());
  });
  if (shape.value.facets.length === 0) return null;
  const end = () => {
    isOpen.value = false;
    requestAnimationFrame(() => document.querySelector<HTMLElement>(".filters-button")?.focus());
  };
  return (
    <aside
      class={`facets${isOpen.value ? " is-open" : ""}`}
      aria-label="Filters"
      hidden={isSheet && !isOpen.value}
      onKeyDown={(event) => {
        if (event.key === "Escape" && isOpen.peek()) end();
      }}
    >
      <div class="facets-head">
        <h2>Filters</h2>
        {filters.value.size > 0 && (
          <button type="button" class="button small quiet" onClick={() => workspace.clear()}>
            Clear all
          </button>
        )}
        {isSheet && (
          <button ref={close} type="button" class="button small" onClick={end}>
            Done
          </button>
        )}
      </div>
      {shape.value.facets.map((name) => (
        <Facet key={name} workspace={workspace} name={name} />
      ))}
    </aside>
  );
}

function Facet({ workspace, name }: { workspace: Workspace; name: string }) {
  const { catalogue, filters, colouredBy } = workspace;
  const isWhole = useSignal(false);
  const part = useSignal("");
  useEffect(() => {
    part.value = "";
  }, [catalogue.value]);
  const counts = countsOf(catalogue.value, filters.value, name);
  const wanted = part.value.toLocaleLowerCase();
  const found =
    wanted === "" ? counts : counts.filter(({ value }) => value.toLocaleLowerCase().includes(wanted));
  const shown = isWhole.value ? found.slice(0, MOST) : pick(found);
  const colours = colouredBy.value === name ? coloursOf(catalogue.value, name) : undefined;
  const others = catalogue.value.facets.get(name)?.others ?? 0;
  const chosen = filters.value.get(name)?.size ?? 0;
  const largest = counts[0]?.count ?? 1;
  if (counts.length === 0 && others === 0) return null;
  return (
    <fieldset class="facet">
      <legend>
        <bdi>{heading(name)}</bdi>
        {chosen > 0 && (
          <button
            type="button"
            class="button icon-only small quiet"
            aria-label={`Clear ${name}`}
            onClick={() => workspace.clear(name)}
          >
            <Icon name="close" />
          </button>
        )}
      </legend>
      {isWhole.value && counts.length > 2 * FEW && (
        <input
          type="search"
          class="facet-find"
          aria-label={`Find in ${name}`}
          placeholder={`Find in ${count(counts.length)}`}
          value={part}
          onInput={({ currentTarget: { value } }) => {
            part.value = value;
          }}
        />
      )}
      <ul>
        {shown.map(({ value, count: records, isChosen }) => (
          <li key={value}>
            <label class="facet-value">
              <input type="checkbox" checked={isChosen} onChange={() => workspace.toggle(name, value)} />
              {colours !== undefined && <span class={`dot ${colourClass(colours.get(value))}`} />}
              <bdi class="facet-name">{named(value)}</bdi>
              <span class="facet-count">{count(records)}</span>
              <span class="facet-bar" style={{ width: `${(100 * records) / largest}%` }} />
            </label>
          </li>
        ))}
      </ul>
      {others > 0 && (
        <p class="hint">
          {plural(others, "record")} with other values: too many, or too long to choose from.
        </p>
      )}
      {counts.length > FEW && (
        <button
          type="button"
          class="button small quiet more"
          aria-expanded={isWhole.value}
          onClick={() => {
            isWhole.value = !isWhole.value;
            part.value = "";
          }}
        >
          {isWhole.value ? "Show fewer" : `Show all ${count(counts.length)}`}
        </button>
      )}
    </fieldset>
  );
}

/** The most frequent, and those that are chosen. */
function pick<T extends { isChosen: boolean }>(found: readonly T[]): T[] {
  return found.filter(({ isChosen }, i) => i < FEW || isChosen);
}
