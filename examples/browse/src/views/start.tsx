import type { SpaceProgress } from "@dreamlake/dreamdb/space";
import { type ReadonlySignal, useSignal } from "@preact/signals";
import { open, type Stage, start } from "../state/application.ts";
import { labelOf } from "../state/dataset-url.ts";
import { parsePlace } from "../state/place.ts";
import { forget, recents } from "../state/recents.ts";
import { Failure } from "./failure.tsx";
import { Icon } from "./icon.tsx";
import { ThemeButton } from "./theme-button.tsx";
import { bytes, plural } from "./words.ts";

/** Asks for an address, and tells why one could not be opened. */
export function Start({ stage }: { stage: Exclude<Stage, { is: "open" }> }) {
  const given = stage.is === "start" ? "" : stage.url;
  const known = useSignal(recents());
  const isOpening = stage.is === "opening";
  return (
    <main class="start">
      <div class="start-corner">
        <ThemeButton />
      </div>
      <div class="start-card">
        <h1>
          <img src="./icon.svg" alt="" width="36" height="36" /> DreamDB Browse
        </h1>
        <p class="lead">
          Look through a dataset and search it by meaning, straight from the bucket it lies in. No server
          stands between; every byte is verified on your machine.
        </p>
        <form
          key={given}
          class="start-form"
          onSubmit={(event) => {
            event.preventDefault();
            const url = String(new FormData(event.currentTarget).get("url") ?? "").trim();
            if (url !== "") void open(url);
          }}
        >
          <label for="url">Address of a branch or snapshot</label>
          <div class="start-row">
            <input
              id="url"
              name="url"
              type="text"
              inputMode="url"
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              required
              placeholder="https://data.example.org/my-bucket/refs/photos"
              defaultValue={given}
              readOnly={isOpening}
            />
            {isOpening ? (
              <button type="button" class="button" onClick={start}>
                Cancel
              </button>
            ) : (
              <button type="submit" class="button primary">
                Open
              </button>
            )}
          </div>
        </form>
        {stage.is === "opening" && (
          <p class="opening">
            <span class="spinner" aria-hidden="true" />
            <span role="status">Opening…</span>
            <OpeningProgress progress={stage.progress} />
          </p>
        )}
        {stage.is === "failed" && (
          <Failure error={stage.error} onRetry={() => void open(stage.url, parsePlace(location.search))} />
        )}
        {!isOpening && known.value.length > 0 && (
          <section class="recents" aria-labelledby="recents">
            <h2 id="recents">Opened before</h2>
            <ul>
              {known.value.map((url) => (
                <li key={url}>
                  <button type="button" class="recent" onClick={() => void open(url)}>
                    <Icon name="data" />
                    <span>
                      <b>
                        <bdi>{labelOf(url)}</bdi>
                      </b>
                      <small>{url}</small>
                    </span>
                  </button>
                  <button
                    type="button"
                    class="button icon-only quiet"
                    aria-label={`Forget ${url}`}
                    onClick={() => {
                      forget(url);
                      known.value = recents();
                    }}
                  >
                    <Icon name="close" />
                  </button>
                </li>
              ))}
            </ul>
          </section>
        )}
      </div>
    </main>
  );
}

/** Over a slow link it tells that something is under way. Not read aloud: it changes with every answer. */
function OpeningProgress({ progress }: { progress: ReadonlySignal<SpaceProgress | undefined> }) {
  const told = progress.value;
  if (told === undefined) return null;
  const { requests, pending, bytes: read } = told;
  return (
    <span class="opening-progress">
      {[
        ...(requests > 0 ? [`${plural(requests, "answer")}, ${bytes(read)}`] : []),
        ...(pending > 0 ? [`${plural(pending, "request")} under way`] : []),
      ].join(", ")}
    </span>
  );
}
