import type { Row } from "../state/row.ts";
import type { Workspace } from "../state/workspace.ts";
import { Icon } from "./icon.tsx";
import { colourClass, coloursOf } from "./palette.ts";
import { Picture } from "./picture.tsx";
import { distance as distanceWords, time, value } from "./words.ts";

/** Characters of a text that a card shows at most: it has room for fewer. */
const CARD_TEXT = 400;

interface CardProps {
  workspace: Workspace;
  anchor: bigint;
  /** Undefined until it is read. */
  row: Row | undefined;
  position: number;
  column: number;
  distance: number | undefined;
  isActive: boolean;
  isSelected: boolean;
  width: number;
  height: number;
  onActive: () => void;
}

/** A record in the grid. What the catalogue knows of it is there at once, the picture when it has been read. */
export function Card(props: CardProps) {
  const { workspace, anchor, row, position, column, distance, isActive, isSelected, onActive } = props;
  const { catalogue, shape, colouredBy, selected } = workspace;
  const { picture, title, body, vectors } = shape.value;
  const at = catalogue.value.rowOf(anchor);
  const known = at < 0 ? "" : catalogue.value.titles[at];
  const name =
    known ||
    (title === undefined ? "" : value(row?.values[title] ?? "", undefined, CARD_TEXT)) ||
    time(anchor);
  const category = catalogue.value.valueOf(colouredBy.value, at);
  const colour =
    colouredBy.value === undefined ? undefined : coloursOf(catalogue.value, colouredBy.value).get(category);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid hears the keys of all its cells
    // biome-ignore lint/a11y/useSemanticElements: a virtual grid places its rows by transforms, which tables don't take
    <div
      class={`card${isSelected ? " is-selected" : ""}`}
      role="gridcell"
      aria-colindex={column + 1}
      aria-selected={isSelected}
      tabIndex={isActive ? 0 : -1}
      data-position={position}
      style={{ width: `${props.width}px`, height: `${props.height}px` }}
      onFocus={onActive}
      onClick={() => {
        selected.value = anchor;
      }}
    >
      {picture !== undefined && <Picture media={row?.media.get(picture)} isRead={row !== undefined} />}
      <div class="card-text">
        <span class="card-title">
          {distance !== undefined && (
            <span class="rank">
              <span class="unseen">Rank </span>
              {position + 1}
            </span>
          )}
          <bdi>{name}</bdi>
        </span>
        {picture === undefined && body !== undefined && (
          <p class="card-body" dir="auto">
            {row === undefined ? "" : value(row.values[body], undefined, CARD_TEXT)}
          </p>
        )}
        <span class="card-note">
          {category !== "" && (
            <>
              <span class={`dot ${colourClass(colour)}`} />
              <bdi>{category}</bdi>
            </>
          )}
          {distance !== undefined && (
            <span class="card-distance">
              <span class="unseen">Distance </span>
              {distanceWords(distance)}
            </span>
          )}
        </span>
      </div>
      {vectors.length > 0 && (
        <button
          type="button"
          class="card-like"
          tabIndex={isActive ? 0 : -1}
          aria-label="More like this"
          title="More like this (L)"
          onClick={(event) => {
            event.stopPropagation();
            workspace.askLike(anchor);
          }}
        >
          <Icon name="like" />
        </button>
      )}
    </div>
  );
}
