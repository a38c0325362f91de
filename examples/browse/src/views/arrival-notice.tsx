import { useSignalEffect } from "@preact/signals";
import { announce } from "../state/announce.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";
import { count, plural } from "./words.ts";

/** Says that others have published; what is shown moves only when it is asked to. */
export function ArrivalNotice({ workspace }: { workspace: Workspace }) {
  const { arrival, isPast } = workspace.travels;
  useSignalEffect(() => {
    if (arrival.value !== undefined) announce(`New: ${wordsOf(arrival.value)}.`);
  });
  const found = arrival.value;
  if (found !== undefined)
    return (
      <div class="notice">
        <Icon name="refresh" />
        <span>New: {wordsOf(found)}.</span>
        <button type="button" class="button small primary" onClick={() => void workspace.moveOn()}>
          Show
        </button>
      </div>
    );
  if (!isPast.value) return null;
  return (
    <div class="notice past">
      <Icon name="clock" />
      <span>This is an earlier state.</span>
      <button type="button" class="button small" onClick={() => void workspace.backToNewest()}>
        Back to the newest
      </button>
    </div>
  );
}

function wordsOf({ commits, rows }: { commits: number; rows: number }): string {
  const records =
    rows === 0 ? "as many records" : `${count(Math.abs(rows))} ${rows > 0 ? "more" : "fewer"} records`;
  return `${plural(commits, "commit")}, ${records}`;
}
