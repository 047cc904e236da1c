import { NAMES, type Palette, tint } from "./palette.js";
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

let palette: Palette | undefined;

/** The colors of the style sheet, for what is drawn on a canvas. */
export function colors(): Palette {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    const read = NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]);
    palette = Object.fromEntries(read) as Palette;
  }
  return palette;
}

/** The color of a feeling. */
export function feeling(label: string): string {
  return tint(colors(), label);
}
