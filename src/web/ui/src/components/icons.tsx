// Icons as paths on a grid of 24, drawn with the colour of the text beside them.

const PATHS = {
  home: "M4 11 12 4l8 7v9h-5v-6H9v6H4Z",
  jobs: "M4 6h16M4 12h16M4 18h10",
  mail: "M4 6h16v12H4Zm0 1 8 6 8-6",
  files: "M4 6h6l2 2h8v11H4Z",
  effects: "m13 3-8 11h6l-1 7 8-11h-6Z",
  system: "M5 5h14v6H5ZM5 13h14v6H5ZM8 8h.01M8 16h.01",
  search: "M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12m4.5 10.5L20 20",
  plus: "M12 5v14M5 12h14",
  stop: "M7 7h10v10H7Z",
  play: "M8 5v14l11-7Z",
  pause: "M9 5v14M15 5v14",
  clock: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16m0 4v4l3 2",
  hand: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16m0 4v5m0 3v.01",
  check: "m5 12 5 5 9-10",
  cross: "m6 6 12 12M18 6 6 18",
  ban: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16M6.5 6.5l11 11",
  question: "M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4m0 3v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  warning: "M12 4 3 20h18Zm0 6v4m0 3v.01",
  copy: "M9 9h10v10H9ZM5 15V5h10",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8m0-5v2m0 14v2M3 12h2m14 0h2M5.6 5.6 7 7m10 10 1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4",
  moon: "M19 14A8 8 0 0 1 10 5a8 8 0 1 0 9 9",
  contrast: "M12 4a8 8 0 1 0 0 16Zm0 0a8 8 0 0 1 0 16",
  person: "M12 5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M5 20c1-4 4-5 7-5s6 1 7 5",
  chevron: "m9 6 6 6-6 6",
  more: "M12 5h.01M12 12h.01M12 19h.01",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  upload: "M12 15V4m-5 5 5-5 5 5M5 20h14",
  edit: "m4 20 1-5L16 4l4 4L9 19Z",
  file: "M7 3h7l4 4v14H7Zm7 0v4h4",
  undo: "M9 7 4 12l5 5M4 12h10a5 5 0 0 1 0 10h-2",
  download: "M12 4v11m-5-5 5 5 5-5M5 20h14",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="glyph" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
