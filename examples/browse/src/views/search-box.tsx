import { useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";
import { SearchOptions } from "./search-options.tsx";

/** Asks by text or picture, where the dataset has a field for that. */
export function SearchBox({ workspace }: { workspace: Workspace }) {
  const { shape, question, phase } = workspace;
  const text = useSignal("");
  const input = useRef<HTMLInputElement>(null);
  const chooser = useRef<HTMLInputElement>(null);
  const takesText = shape.value.vectors.some((field) => field.takesText);
  const takesPictures = shape.value.vectors.some((field) => field.takesPictures);
  useSignalEffect(() => {
    const asked = question.value;
    text.value = asked?.by === "text" ? asked.text : "";
  });
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "k" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  const hint = takesText
    ? takesPictures
      ? "Search by meaning, or drop a picture"
      : "Search by meaning"
    : takesPictures
      ? "Drop a picture, or choose “more like this”"
      : "Choose “more like this” on a record";
  const { is } = phase.value;
  return (
    <search class="search">
      <form
        class="search-form"
        onSubmit={(event) => {
          event.preventDefault();
          const wanted = text.peek().trim();
          if (wanted === "") workspace.ask(undefined);
          else workspace.askText(wanted, fieldOf(question.peek()));
        }}
      >
        {is === "idle" ? <Icon name="search" /> : <span class="spinner" aria-hidden="true" />}
        <input
          ref={input}
          type="search"
          enterkeyhint="search"
          autocomplete="off"
          aria-label={hint}
          aria-keyshortcuts="Control+K"
          placeholder={hint}
          disabled={!takesText}
          value={text}
          onInput={({ currentTarget: { value } }) => {
            text.value = value;
          }}
        />
        {takesPictures && (
          <>
            <input
              ref={chooser}
              class="unseen"
              type="file"
              accept="image/*"
              tabIndex={-1}
              aria-label="Picture to search by"
              onChange={({ currentTarget }) => {
                const file = currentTarget.files?.[0];
                if (file !== undefined) workspace.askPicture(file, file.name);
                currentTarget.value = "";
              }}
            />
            <button
              type="button"
              class="button icon-only quiet"
              aria-label="Search by a picture"
              title="Search by a picture: choose, drop or paste one"
              onClick={() => chooser.current?.click()}
            >
              <Icon name="picture" />
            </button>
          </>
        )}
        {shape.value.vectors.length > 0 && <SearchOptions workspace={workspace} />}
      </form>
    </search>
  );

  function fieldOf(asked: typeof question.value): string | undefined {
    return asked?.by === "text" ? asked.field : undefined;
  }
}
