import { s } from "./dom.js";

/** Lines of the icons, 24 by 24. */
const PATHS = {
  plus: ["M12 5v14", "M5 12h14"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  done: ["M5 13l5 5L19 7"],
  in: ["M19 12H6", "M12 6l-6 6 6 6"],
  send: ["M5 12h13", "M12 5l7 7-7 7"],
  stop: ["M7 7h10v10H7z"],
  play: ["M8 5l11 7-11 7z"],
  pause: ["M8 5v14", "M16 5v14"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
  cut: ["M2 8.5a15 15 0 0 1 20 0", "M5.5 12.5a10 10 0 0 1 13 0", "M9 16.5a5 5 0 0 1 6 0", "M4 3l16 18"],
  net: ["M2 8.5a15 15 0 0 1 20 0", "M5.5 12.5a10 10 0 0 1 13 0", "M9 16.5a5 5 0 0 1 6 0", "M12 20h.01"],
  blip: ["M13 2L5 13h6l-1 9 8-12h-6z"],
  sun: [
    "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8z",
    "M12 2v2",
    "M12 20v2",
    "M4.9 4.9l1.4 1.4",
    "M17.7 17.7l1.4 1.4",
    "M2 12h2",
    "M20 12h2",
    "M4.9 19.1l1.4-1.4",
    "M17.7 6.3l1.4-1.4",
  ],
  moon: ["M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z"],
  help: ["M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4", "M12 18h.01"],
  frames: ["M4 6h16", "M4 12h16", "M4 18h10"],
  back: ["M4 12a8 8 0 1 0 2.5-5.8L4 8.5", "M4 4v4.5h4.5"],
} as const;

export type IconName = keyof typeof PATHS;

/** A picture beside a word, which says nothing by itself. */
export function icon(name: IconName): SVGSVGElement {
  const lines = PATHS[name].map((d) => s("path", { d }));
  return s("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, ...lines);
}
