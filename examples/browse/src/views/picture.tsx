import type { Media } from "@dreamlake/dreamdb/space";
import { useSignal } from "@preact/signals";
import { Icon } from "./icon.tsx";

/** Pixels of an emoji or a thumbnail. */
const SMALL = 96;

/** A stored picture by the library's blob URL, which only raster images have; never by anything that data says. */
export function Picture({
  media,
  isRead,
  alt = "",
}: {
  media: Media | undefined;
  isRead: boolean;
  alt?: string;
}) {
  const isBroken = useSignal<Media | undefined>(undefined);
  const url = media === undefined || isBroken.value === media ? undefined : media.url;
  if (url !== undefined && media?.type.startsWith("image/"))
    return (
      <div class="picture">
        <img
          src={url}
          alt={alt}
          decoding="async"
          draggable={false}
          onLoad={({ currentTarget: image }) => {
            // Small pictures are not drawn out to a blur.
            image.classList.toggle("is-small", Math.max(image.naturalWidth, image.naturalHeight) <= SMALL);
          }}
          onError={() => {
            isBroken.value = media;
          }}
        />
      </div>
    );
  const why = !isRead
    ? undefined
    : media?.refusal !== undefined
      ? "These bytes are no picture that a page may show"
      : media === undefined
        ? "No picture"
        : "This picture can't be shown";
  return (
    <div class={`picture ${why === undefined ? "is-coming" : "is-missing"}`} title={why}>
      {why !== undefined && (
        <>
          <Icon name="picture" />
          <span class="unseen">{why}</span>
        </>
      )}
    </div>
  );
}
