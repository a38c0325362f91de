import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { announce } from "../state/announce.ts";
import { TITLE_LENGTH } from "../state/catalogue.ts";
import { freeRow, type Row, readRow } from "../state/row.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";
import { isNarrow } from "./narrow.ts";
import { Picture } from "./picture.tsx";
import { Recording } from "./recording.tsx";
import { heading, time, value } from "./words.ts";

type Reading =
  | { is: "reading" }
  | { is: "read"; row: Row }
  | { is: "none" }
  | { is: "failed"; message: string };

/** All of one record. */
export function Detail({ workspace }: { workspace: Workspace }) {
  const { selected, travels, shape } = workspace;
  const anchor = selected.value;
  const space = travels.shown.value;
  const reading = useSignal<Reading>({ is: "reading" });
  const close = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (anchor === undefined) return;
    const ender = new AbortController();
    let row: Row | undefined;
    reading.value = { is: "reading" };
    const { media, scalars } = shape.peek();
    const fields = [...scalars, ...media].map(({ name }) => name);
    readRow(space, anchor, fields, ender.signal)
      .then((found) => {
        if (ender.signal.aborted) return found && freeRow(found);
        row = found;
        reading.value = found === undefined ? { is: "none" } : { is: "read", row: found };
      })
      .catch(async (error) => {
        if (ender.signal.aborted || (await travels.outlives(space, error))) return;
        if (!ender.signal.aborted) reading.value = { is: "failed", message: String(error?.message ?? error) };
      });
    return () => {
      ender.abort();
      if (row !== undefined) freeRow(row);
    };
  }, [anchor, space]);
  // On a phone it covers the page: whoever opened it goes on from here. Beside the records the keyboard stays with them.
  useEffect(() => {
    if (anchor !== undefined && isNarrow.peek()) close.current?.focus();
  }, [anchor]);
  if (anchor === undefined) return null;
  const end = () => {
    selected.value = undefined;
    requestAnimationFrame(() => document.querySelector<HTMLElement>('.card[tabindex="0"]')?.focus());
  };
  const now = reading.value;
  const title = workspace.titleOf(anchor) || time(anchor);
  const { picture, media, scalars, vectors, title: titleField } = shape.value;
  /** The heading has the title, unless it is a long one. */
  const isInHeading = (name: string, row: Row) =>
    name === titleField && String(row.values[name]).length <= TITLE_LENGTH;
  return (
    <aside
      class="detail"
      aria-label="Details"
      onKeyDown={(event) => {
        if (event.key === "Escape") end();
      }}
    >
      <div class="detail-head">
        <h2>
          <bdi>{title}</bdi>
        </h2>
        <button
          ref={close}
          type="button"
          class="button icon-only quiet"
          aria-label="Close the details"
          onClick={end}
        >
          <Icon name="close" />
        </button>
      </div>
      <div class="detail-body">
        {picture !== undefined && (
          <Picture
            media={now.is === "read" ? now.row.media.get(picture) : undefined}
            isRead={now.is !== "reading"}
            alt={title}
          />
        )}
        {vectors.length > 0 && (
          <div class="row like-row">
            {vectors.map(({ name }) => (
              <button key={name} type="button" class="button" onClick={() => workspace.askLike(anchor, name)}>
                <Icon name="like" /> More like this{vectors.length > 1 ? ` by ${name}` : ""}
              </button>
            ))}
          </div>
        )}
        {now.is === "none" && <p class="hint">The state that is shown has no such record.</p>}
        {now.is === "failed" && <p class="hint">{now.message}</p>}
        {now.is === "read" &&
          media
            .filter(({ name }) => name !== picture && now.row.media.has(name))
            .map(({ name }) => (
              <Recording key={`${anchor} ${name}`} name={name} media={now.row.media.get(name)} />
            ))}
        <dl class="values">
          {now.is === "read" &&
            scalars
              .filter(({ name }) => now.row.values[name] !== undefined && !isInHeading(name, now.row))
              .map(({ name, kind }) => (
                <div key={name}>
                  <dt>
                    <bdi>{heading(name)}</bdi>
                  </dt>
                  <dd dir="auto">{value(now.row.values[name], kind)}</dd>
                </div>
              ))}
          <div>
            <dt>Anchor</dt>
            <dd>
              {time(anchor)}
              <small>{anchor.toString()} ns</small>
            </dd>
          </div>
        </dl>
        <button
          type="button"
          class="button quiet"
          onClick={() => {
            navigator.clipboard?.writeText(location.href).then(
              () => announce("The address is copied."),
              () => announce("The browser did not let the page copy."),
            );
          }}
        >
          <Icon name="link" /> Copy the address
        </button>
      </div>
    </aside>
  );
}
