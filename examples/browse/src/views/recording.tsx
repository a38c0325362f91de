import type { Media } from "@dreamlake/dreamdb/space";
import { useSignal } from "@preact/signals";
import { Picture } from "./picture.tsx";
import { heading } from "./words.ts";

/** A film, a sound or a further picture of a record, as its bytes say that it is one; by the library's blob URL only. */
export function Recording({ name, media }: { name: string; media: Media | undefined }) {
  const isBroken = useSignal(false);
  const label = heading(name);
  const onError = () => {
    isBroken.value = true;
  };
  const url = isBroken.value ? undefined : media?.url;
  const kind = media?.type.split("/")[0];
  return (
    <figure class="recording">
      <figcaption>
        <bdi>{label}</bdi>
      </figcaption>
      {url === undefined ? (
        <p class="hint">
          {media?.refusal === undefined
            ? "This can’t be shown by this browser."
            : "These bytes are nothing that a page may show."}
        </p>
      ) : kind === "video" ? (
        // biome-ignore lint/a11y/useMediaCaption: the dataset has none
        <video src={url} controls preload="metadata" aria-label={label} onError={onError} />
      ) : kind === "audio" ? (
        // biome-ignore lint/a11y/useMediaCaption: the dataset has none
        <audio src={url} controls preload="metadata" aria-label={label} onError={onError} />
      ) : (
        <Picture media={media} isRead={true} alt={label} />
      )}
    </figure>
  );
}
