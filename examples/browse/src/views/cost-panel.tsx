import type { WatchedRequest } from "@dreamlake/dreamdb/space";
import type { Cost } from "../state/cost.ts";
import type { Workspace } from "../state/workspace.ts";
import { bytes, count, milliseconds, plural } from "./words.ts";

const SHOWN_REQUESTS = 40;

/** What the last searches cost, the latest in full. */
export function CostPanel({ workspace: { costs, travels } }: { workspace: Workspace }) {
  const [last] = costs.value;
  const { requests, bytes: read } = travels.progress.value;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keys
    <section tabIndex={0} class="panel cost" id="panel-cost" aria-label="Cost">
      {last === undefined ? (
        <p class="hint">
          Nothing was searched yet. Opening and showing took {plural(requests, "request")}, {bytes(read)}.
        </p>
      ) : (
        <>
          <Figures cost={last} />
          <div class="cost-tables">
            <Requests requests={last.requests} />
            {costs.value.length > 1 && <Earlier costs={costs.value} />}
          </div>
        </>
      )}
    </section>
  );
}

function Figures({ cost }: { cost: Cost }) {
  const { again } = cost;
  const figures: [string, string, string | undefined][] = [
    ["Requests", count(cost.requests.length), "while it ran, of the bucket or what the browser kept"],
    ["Read", bytes(cost.bytes), "verified by its hash"],
    [
      "Time",
      milliseconds(cost.ms),
      cost.modelMs > 0 ? `and ${milliseconds(cost.modelMs)} for the model` : undefined,
    ],
  ];
  if (again !== undefined) {
    figures.push(
      ["Cells probed", `${count(again.cellsProbed)} of ${count(again.cells)}`, again.strategy],
      ["Codes scanned", count(again.scanned), `${count(again.refined)} looked at again`],
      [
        "Vectors scored",
        count(again.reranked),
        again.isExact ? "distances are exact" : "distances are estimates",
      ],
      [
        "Once more",
        milliseconds(again.ms.total),
        again.requests === 0
          ? "all in memory by then"
          : `${plural(again.requests, "request")}, ${bytes(again.bytes)}`,
      ],
    );
  }
  return (
    <>
      <h2 class="panel-title">
        Search for <bdi>{cost.label}</bdi>: {plural(cost.hits, "hit")}
      </h2>
      <dl class="figures">
        {figures.map(([name, figure, note]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              {figure}
              {note !== undefined && <small>{note}</small>}
            </dd>
          </div>
        ))}
      </dl>
    </>
  );
}

function Requests({ requests }: { requests: readonly WatchedRequest[] }) {
  if (requests.length === 0) return <p class="hint">No requests: all that it needed had been read before.</p>;
  const slowest = Math.max(...requests.map(({ ms }) => ms));
  return (
    <table>
      <caption>Requests{requests.length > SHOWN_REQUESTS ? `, the first ${SHOWN_REQUESTS}` : ""}</caption>
      <thead>
        <tr>
          <th scope="col">Object</th>
          <th scope="col" class="number">
            Bytes
          </th>
          <th scope="col" class="number">
            Time
          </th>
        </tr>
      </thead>
      <tbody>
        {requests.slice(0, SHOWN_REQUESTS).map(({ key, range, bytes: read, ms, error }, i) => (
          <tr key={`${i} ${key}`}>
            <td>
              <code>{shortKey(key)}</code>
              {range && <small> from {bytes(range.offset)}</small>}
              {error !== undefined && <b> {error}</b>}
            </td>
            <td class="number">{bytes(read)}</td>
            <td class="number">
              <span class="time-bar" style={{ width: `${(40 * ms) / slowest}px` }} /> {milliseconds(ms)}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Earlier({ costs }: { costs: readonly Cost[] }) {
  return (
    <table>
      <caption>Searches, the latest first</caption>
      <thead>
        <tr>
          <th scope="col">For</th>
          <th scope="col" class="number">
            Requests
          </th>
          <th scope="col" class="number">
            Bytes
          </th>
          <th scope="col" class="number">
            Time
          </th>
        </tr>
      </thead>
      <tbody>
        {costs.map(({ label, requests, bytes: read, ms }, i) => (
          <tr key={`${costs.length - i} ${label}`}>
            <td>
              <bdi>{label}</bdi>
            </td>
            <td class="number">{count(requests.length)}</td>
            <td class="number">{bytes(read)}</td>
            <td class="number">{milliseconds(ms)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function shortKey(key: string): string {
  return key.startsWith("objects/") ? `${key.slice(11, 23)}…` : key;
}
