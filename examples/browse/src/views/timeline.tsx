import type { HistoryEntry } from "@dreamlake/dreamdb/space";
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { adviceFor } from "../state/advice.ts";
import { announce } from "../state/announce.ts";
import type { Workspace } from "../state/workspace.ts";
import { ChangesView } from "./changes-view.tsx";
import { Icon } from "./icon.tsx";
import { count, time } from "./words.ts";

/** The slider may pass many states on its way: only where it rests is gone to. */
const REST_MS = 160;

/** The states of the dataset from the oldest to the newest, and what differs between two of them. */
export function Timeline({ workspace: { travels } }: { workspace: Workspace }) {
  const { history, index, shown, refs } = travels;
  const failure = useSignal("");
  /** What the slider is at while it moves. */
  const aim = useSignal<number | undefined>(undefined);
  const other = useSignal<string | undefined>(undefined);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const ender = useRef(new AbortController());
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      ender.current.abort();
    },
    [],
  );
  const entries = [...history.value].reverse();
  if (entries.length === 0)
    return (
      <section class="panel" id="panel-timeline" aria-label="Timeline">
        <p class="hint">No history is known.</p>
      </section>
    );
  const last = entries.length - 1;
  const position = aim.value ?? (index.value < 0 ? last : last - index.value);
  const entry = entries[position] ?? entries[last];
  const tags = (manifest: string) =>
    (refs.value ?? [])
      .filter((ref) => ref.manifest === manifest && ref.type !== "branch")
      .map(({ name }) => name);
  const go = (wanted: number, wait = 0) => {
    const to = Math.max(0, Math.min(last, wanted));
    aim.value = to;
    clearTimeout(timer.current);
    // What is on its way to another state would arrive in between.
    ender.current.abort();
    timer.current = setTimeout(() => void travel(to), wait);
  };
  const compared = other.value ?? before(entries, position)?.manifest;
  const rows = Math.max(...entries.map((each) => each.rows), 1);

  async function travel(to: number): Promise<void> {
    ender.current = new AbortController();
    const { signal } = ender.current;
    const entry = entries[to];
    failure.value = "";
    try {
      if (entry !== undefined) await travels.travel(entry.manifest, signal);
      if (signal.aborted) return;
      aim.value = undefined;
      if (entry !== undefined) announce(`State ${entry.seq}: ${count(entry.rows)} records.`);
    } catch (error) {
      if (signal.aborted) return;
      aim.value = undefined;
      failure.value = adviceFor(error).message;
    }
  }

  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keys
    <section tabIndex={0} class="panel timeline" id="panel-timeline" aria-label="Timeline">
      <div class="timeline-states">
        <button
          type="button"
          class="button icon-only"
          aria-label="The state before"
          disabled={position === 0}
          onClick={() => go(position - 1)}
        >
          <Icon name="left" />
        </button>
        <div class="track">
          <div class="track-marks" aria-hidden="true">
            {entries.map((each, i) => (
              <span
                key={each.manifest}
                class={`mark${i === position ? " is-here" : ""}${tags(each.manifest).length > 0 ? " is-tagged" : ""}`}
                style={{ height: `${8 + (26 * each.rows) / rows}px` }}
                title={`#${each.seq} ${each.op}`}
              />
            ))}
          </div>
          <input
            type="range"
            min={0}
            max={last}
            step={1}
            value={position}
            aria-label="State"
            aria-valuetext={
              entry && `State ${entry.seq}, ${entry.op}, ${count(entry.rows)} records, ${time(entry.ts)}`
            }
            onInput={({ currentTarget: { value } }) => go(Number(value), REST_MS)}
          />
        </div>
        <button
          type="button"
          class="button icon-only"
          aria-label="The state after"
          disabled={position === last}
          onClick={() => go(position + 1)}
        >
          <Icon name="right" />
        </button>
      </div>
      {entry && (
        <p class="state">
          <b>
            #{entry.seq} {entry.op}
          </b>
          <span>{count(entry.rows)} records</span>
          <span>{time(entry.ts)}</span>
          {tags(entry.manifest).map((name) => (
            <span key={name} class="tag">
              <bdi>{name}</bdi>
            </span>
          ))}
          <code title={entry.manifest}>{entry.manifest.slice(0, 14)}…</code>
        </p>
      )}
      {failure.value !== "" && (
        <p class="hint" role="alert">
          {failure}
        </p>
      )}
      {entries.length > 1 && (
        <div class="compare">
          <label>
            Compare with
            <select
              value={compared}
              onChange={({ currentTarget: { value } }) => {
                other.value = value;
              }}
            >
              {entries.map(({ manifest, seq, op, rows: records }) => (
                <option key={manifest} value={manifest}>
                  #{seq} {op}, {count(records)} records
                </option>
              ))}
            </select>
          </label>
          {compared !== undefined && compared !== shown.value.manifest && (
            <ChangesView
              key={`${compared} ${shown.value.manifest}`}
              travels={travels}
              from={compared}
              to={shown.value.manifest}
            />
          )}
        </div>
      )}
    </section>
  );
}

/** The latest state before one that has other records, or the one before it where all have as many. */
function before(entries: readonly HistoryEntry[], position: number): HistoryEntry | undefined {
  const earlier = entries.slice(0, position);
  return earlier.findLast(({ rows }) => rows !== entries[position]?.rows) ?? earlier.at(-1) ?? entries[0];
}
