import { Signal } from "./signal.js";

export type Theme = "dark" | "light";

const wanted = matchMedia("(prefers-color-scheme: light)");
let chosen: Theme | undefined;

/** The page has other colors from now on. */
export const themed = new Signal<Theme>();

export function theme(): Theme {
  return chosen ?? (wanted.matches ? "light" : "dark");
}

/** Chooses light or dark until the page is closed; without a choice it is as the system has it. */
export function choose(theme: Theme): void {
  chosen = theme;
  document.documentElement.dataset["theme"] = theme;
  palette = undefined;
  themed.emit(theme);
}

wanted.addEventListener("change", () => {
  palette = undefined;
  if (chosen === undefined) themed.emit(theme());
});

const NAMES = [
  "ink",
  "soft",
  "faint",
  "line",
  "panel",
  "raised",
  "accent",
  "neutral",
  "joy",
  "sadness",
  "anger",
  "fear",
  "disgust",
  "surprise",
  "contempt",
  "warn",
  "good",
] as const;

export type Color = (typeof NAMES)[number];

let palette: Record<Color, string> | undefined;

/** The colors of the style sheet, for what is drawn on a canvas. */
export function colors(): Record<Color, string> {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    const read = NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]);
    palette = Object.fromEntries(read) as Record<Color, string>;
  }
  return palette;
}

/** The color of a feeling. */
export function feeling(label: string): string {
  const all = colors();
  return label in all ? all[label as Color] : all.neutral;
}
