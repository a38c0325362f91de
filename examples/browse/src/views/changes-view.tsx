import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { adviceFor } from "../state/advice.ts";
import { type ChangeKind, type Changes, changesBetween, freeChanges } from "../state/changes.ts";
import { shapeOf } from "../state/shape.ts";
import type { Travels } from "../state/travels.ts";
import { Picture } from "./picture.tsx";
import { count, time, value } from "./words.ts";

const SIGNS: Record<ChangeKind, string> = { added: "+", removed: "−", changed: "~" };

/** What the second state has that the first has not, and the other way round. */
export function ChangesView({ travels, from, to }: { travels: Travels; from: string; to: string }) {
  const shown = travels.shown.value;
  const found = useSignal<Changes | undefined>(undefined);
  const failure = useSignal("");
  useEffect(() => {
    const ender = new AbortController();
    failure.value = "";
    let changes: Changes | undefined;
    changesBetween(travels, from, to, ender.signal)
      .then((read) => {
        if (ender.signal.aborted) return freeChanges(read);
        changes = read;
        found.value = read;
      })
      .catch((error) => {
        if (!ender.signal.aborted) failure.value = adviceFor(error).message;
      });
    return () => {
      ender.abort();
      if (changes !== undefined) freeChanges(changes);
    };
  }, [travels, shown, from, to]);
  const changes = found.value;
  if (failure.value !== "") return <p class="hint">{failure}</p>;
  if (changes === undefined) return <p class="hint">Comparing…</p>;
  const { picture, title } = shapeOf(shown.tracks());
  const kinds = (["added", "removed", "changed"] as const).filter((kind) => changes.samples[kind].length > 0);
  return (
    <div class="changes">
      <ul class="change-counts">
        {(["added", "removed", "changed"] as const).map((kind) => (
          <li key={kind} class={changes.counts[kind] > 0 ? `is-${kind}` : "is-none"}>
            <b>
              {SIGNS[kind]}
              {count(changes.counts[kind])}
            </b>{" "}
            {kind}
          </li>
        ))}
        {changes.fields.map(({ field, change }) => (
          <li key={`field ${field}`}>
            field <bdi>{field}</bdi> {change}
          </li>
        ))}
        {changes.indexes.map(({ field }) => (
          <li key={`index ${field}`}>
            index of <bdi>{field}</bdi> rebuilt
          </li>
        ))}
      </ul>
      {kinds.map((kind) => (
        <ul key={kind} class={`change-samples is-${kind}`} aria-label={`Some records ${kind}`}>
          {changes.samples[kind].map(({ row, fields }) => {
            const name = title === undefined ? time(row.anchor) : value(row.values[title]);
            return (
              <li key={row.anchor} title={fields.length > 0 ? `${name}: ${fields.join(", ")}` : name}>
                {picture !== undefined && <Picture media={row.media.get(picture)} isRead={true} />}
                <bdi>{name}</bdi>
              </li>
            );
          })}
        </ul>
      ))}
    </div>
  );
}
