import { useEffect, useRef } from "preact/hooks";
import type { Quality } from "../state/cost.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";

const NUMBERS = [30, 60, 120, 300, 1000];
const QUALITIES: Record<Quality, string> = {
  fast: "Fast: the nearest cells only",
  balanced: "Balanced",
  all: "Thorough: every cell",
};

/** Figures of searches, for those who want to turn them. */
export function SearchOptions({ workspace }: { workspace: Workspace }) {
  const { topK, quality, question, shape } = workspace;
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      const { current } = details;
      if (current?.open && !current.contains(event.target as Node)) current.open = false;
    };
    addEventListener("pointerdown", close);
    addEventListener("focusin", close);
    return () => {
      removeEventListener("pointerdown", close);
      removeEventListener("focusin", close);
    };
  }, []);
  const asked = question.value;
  const fields = shape.value.vectors.filter(
    ({ takesText, takesPictures }) =>
      asked === undefined || asked.by === "record" || (asked.by === "text" ? takesText : takesPictures),
  );
  return (
    <details
      class="popover"
      ref={details}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !event.currentTarget.open) return;
        event.currentTarget.open = false;
        event.currentTarget.querySelector("summary")?.focus();
        event.stopPropagation();
      }}
    >
      <summary class="button icon-only quiet" aria-label="Search options" title="Search options">
        <Icon name="options" />
      </summary>
      <div class="popover-body">
        {asked !== undefined && (
          <label>
            Compare by
            <select
              value={asked.field}
              onChange={({ currentTarget: { value } }) => workspace.ask({ ...asked, field: value })}
            >
              {fields.map(({ name, dim }) => (
                <option key={name} value={name}>
                  {name} ({dim})
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          Results
          <select
            value={String(topK.value)}
            onChange={({ currentTarget: { value } }) => {
              topK.value = Number(value);
              workspace.again();
            }}
          >
            {NUMBERS.map((each) => (
              <option key={each} value={String(each)}>
                {each}
              </option>
            ))}
          </select>
        </label>
        <label>
          Quality
          <select
            value={quality.value}
            onChange={({ currentTarget: { value } }) => {
              quality.value = value as Quality;
              workspace.again();
            }}
          >
            {Object.entries(QUALITIES).map(([each, words]) => (
              <option key={each} value={each}>
                {words}
              </option>
            ))}
          </select>
        </label>
      </div>
    </details>
  );
}
