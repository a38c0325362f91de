/** Outlines on a grid of 20, drawn in the colour of the text around them. */
const PATHS = {
  search: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM13 13l4 4",
  picture: "M3.5 4.5h13v11h-13zM6.8 8.2h.01M3.5 13l3.8-3.6 3.2 3 2.4-2.2 3.6 3.3",
  close: "M5 5l10 10M15 5 5 15",
  like: "M7 7h9v9H7zM4 13V4h9",
  grid: "M3.5 3.5h5v5h-5zM11.5 3.5h5v5h-5zM3.5 11.5h5v5h-5zM11.5 11.5h5v5h-5z",
  map: "M4 15.5V4M4 15.5h12.5M7.5 11.5h.01M10 7h.01M13 10h.01M15 5.5h.01M11.5 13h.01",
  clock: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM10 6v4l2.8 1.8",
  gauge: "M3.5 14a7 7 0 1 1 13 0M10 12l3-4",
  filter: "M3.5 5.5h13M6 10h8M8.5 14.5h3",
  branch:
    "M6 6.5v7M6 6.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3ZM6 16.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3ZM14 8.5a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3ZM14 8.5c0 3-8 1.5-8 5",
  sun: "M10 7a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM10 2.5v1.5M10 16v1.5M2.5 10H4M16 10h1.5M4.7 4.7l1 1M14.3 14.3l1 1M4.7 15.3l1-1M14.3 5.7l1-1",
  moon: "M16 11.5A6.5 6.5 0 0 1 8.5 4a6.5 6.5 0 1 0 7.5 7.5Z",
  system: "M3.5 4.5h13v8.5h-13zM7.5 16.5h5M10 13v3.5",
  left: "M12 5l-5 5 5 5",
  right: "M8 5l5 5-5 5",
  refresh: "M16 10a6 6 0 1 1-1.8-4.3M16 3.5v3h-3",
  plus: "M10 4.5v11M4.5 10h11",
  minus: "M4.5 10h11",
  whole: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  options: "M4 6h6M14 6h2M4 14h2M10 14h6M12 4.2v3.6M8 12.2v3.6",
  data: "M10 3.5c3.6 0 6.5 1.1 6.5 2.5S13.6 8.5 10 8.5 3.5 7.4 3.5 6 6.4 3.5 10 3.5ZM3.5 6v8c0 1.4 2.9 2.5 6.5 2.5s6.5-1.1 6.5-2.5V6M3.5 10c0 1.4 2.9 2.5 6.5 2.5s6.5-1.1 6.5-2.5",
  warning: "M10 3.5 17 16H3ZM10 8v4M10 14h.01",
  link: "M8.5 11.5a3 3 0 0 0 4.2 0l2.8-2.8a3 3 0 0 0-4.2-4.2l-.8.8M11.5 8.5a3 3 0 0 0-4.2 0l-2.8 2.8a3 3 0 0 0 4.2 4.2l.8-.8",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
