/** What the application makes of a dataset's fields: it knows none by name that it could not do without. */
import type { TrackInfo } from "@dreamlake/dreamdb/space";

/** Components of what the packaged models give. A field of another dimension was made by another model. */
const TEXT_DIM = 512;
const PICTURE_DIM = 320;

const TITLES = ["name", "title", "word", "label", "caption", "text"];
const BODIES = ["gloss", "description", "caption", "text", "keywords"];

export interface VectorField {
  name: string;
  dim: number;
  /** The packaged models give vectors that fit it. */
  takesText: boolean;
  takesPictures: boolean;
  /** Cells of its index, or what it has in their place. */
  index: NonNullable<TrackInfo["index"]>["kind"];
  cells: number;
}

export interface Shape {
  /** The field that records are shown by. */
  picture: string | undefined;
  /** Pictures, films and sounds. */
  media: readonly TrackInfo[];
  /** A short text of each record. */
  title: string | undefined;
  /** A longer one, for records without a picture. */
  body: string | undefined;
  /** Categories and booleans: what can be filtered by. */
  facets: readonly string[];
  scalars: readonly TrackInfo[];
  vectors: readonly VectorField[];
  /** Two numbers of each record that place it on a map. */
  map: { x: string; y: string } | undefined;
}

export function shapeOf(tracks: readonly TrackInfo[]): Shape {
  const scalars = tracks.filter(({ modality }) => modality.startsWith("scalar."));
  const texts = scalars.filter(({ kind }) => kind === "string").map(({ name }) => name);
  const facets = scalars
    .filter(({ kind }) => kind === "categorical" || kind === "bool")
    .map(({ name }) => name);
  const title = TITLES.find((name) => texts.includes(name)) ?? texts[0] ?? facets[0];
  const others = texts.filter((name) => name !== title);
  const isNumber = (name: string) => scalars.some((track) => track.name === name && track.kind === "float");
  return {
    picture: tracks.find(({ kind }) => kind === "image")?.name,
    media: tracks.filter(({ kind }) => kind === "image" || kind === "video" || kind === "audio"),
    title,
    body: BODIES.find((name) => others.includes(name)) ?? others[0],
    facets,
    scalars,
    vectors: tracks.filter(({ kind }) => kind === "embedding").map(vectorField),
    map: isNumber("map_x") && isNumber("map_y") ? { x: "map_x", y: "map_y" } : undefined,
  };
}

function vectorField({ name, dim = 0, index }: TrackInfo): VectorField {
  return {
    name,
    dim,
    takesText: dim === TEXT_DIM,
    takesPictures: dim === PICTURE_DIM,
    index: index?.kind ?? "none",
    cells: index?.cells ?? 1,
  };
}

/** Fields that a card shows, pictures included. */
export function cardFields({ picture, title, body, facets }: Shape): string[] {
  const shown = [picture, title, picture === undefined ? body : undefined, facets[0]];
  return [...new Set(shown.filter((name) => name !== undefined))];
}
