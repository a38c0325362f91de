import { adviceFor } from "../state/advice.ts";
import type { Panel, Workspace } from "../state/workspace.ts";
import { Icon, type IconName } from "./icon.tsx";
import { bytes, count, milliseconds, plural, time } from "./words.ts";

/** The state that is shown and what the last search cost, each opening its panel. */
export function StatusBar({ workspace }: { workspace: Workspace }) {
  const { travels, costs, panel, phase } = workspace;
  const entry = travels.history.value[travels.index.value];
  const [cost] = costs.value;
  const { requests, bytes: read, pending } = travels.progress.value;
  const now = phase.value;
  const unseen = travels.lookFailure.value;
  const toggle = (which: Panel, icon: IconName, label: string, text: string) => (
    <button
      type="button"
      class="status"
      aria-expanded={panel.value === which}
      aria-controls={panel.value === which ? `panel-${which}` : undefined}
      onClick={() => {
        panel.value = panel.peek() === which ? undefined : which;
      }}
    >
      <Icon name={icon} />
      <b>{label}</b>
      <span>{text}</span>
    </button>
  );
  return (
    <div class="status-bar">
      {toggle(
        "timeline",
        "clock",
        "Timeline",
        entry === undefined ? "" : `#${entry.seq} ${entry.op} · ${time(entry.ts, true)}`,
      )}
      {toggle(
        "cost",
        "gauge",
        "Cost",
        cost === undefined
          ? "no search yet"
          : [
              plural(cost.requests.length, "request"),
              bytes(cost.bytes),
              milliseconds(cost.ms),
              ...(cost.again
                ? [`${count(cost.again.cellsProbed)} of ${plural(cost.again.cells, "cell")}`]
                : []),
            ].join(" · "),
      )}
      {unseen !== undefined && (
        <span class="status-warning" role="status" title={adviceFor(unseen).message}>
          <Icon name="warning" />
          <span>New states can’t be looked for: {lowered(adviceFor(unseen).title)}</span>
        </span>
      )}
      <span class="status-end">
        {now.is === "loading model"
          ? `Loading the text model, ${Math.round(100 * now.share)} %`
          : pending > 0
            ? `Reading · ${plural(pending, "request")} under way`
            : `Read ${bytes(read)} in ${plural(requests, "request")}`}
      </span>
    </div>
  );
}

/** A title in the middle of a sentence. */
function lowered(title: string): string {
  return title.charAt(0).toLowerCase() + title.slice(1);
}
