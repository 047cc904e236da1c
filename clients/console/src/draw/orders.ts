import type { Look } from "../face/look.js";
import type { Pose } from "../face/shapes.js";
import type { Units } from "../face/units.js";
import type { Score } from "../talk/score.js";
import type { Canvas, Size } from "../ui/canvas.js";
import type { Palette } from "../ui/palette.js";

/** What a picture is of, and stays of. */
export type Subject = { kind: "head"; look: Look } | { kind: "bars" } | { kind: "timeline" };

/** What each kind of picture shows at a time. */
export interface Shows {
  head: Pose;
  bars: Units;
  timeline: Score;
}

/** What changes on a picture. Only the latest of each is kept until it is drawn. */
export interface Change {
  size?: Size;
  shown?: Shows[keyof Shows];
  /** On a timeline. */
  finger?: Finger | null;
}

/** A moment that is pointed at, in milliseconds; held there by somebody, or on its way. */
export interface Finger {
  t: number;
  isHeld: boolean;
}

/**
 * What whoever draws is told. Plain values: they can be handed to another thread. `id` is the page's number of a picture.
 */
export type Order =
  | { what: "begin"; id: number; subject: Subject; pixels: HTMLCanvasElement | OffscreenCanvas }
  | { what: "change"; id: number; change: Change }
  | { what: "end"; id: number }
  | { what: "colors"; palette: Palette };

/** Draws one picture. */
export interface Painter<Shown> {
  /** `anew`: the size or the colors are others than before, or nothing was drawn yet. */
  paint(canvas: Canvas, shown: Shown, palette: Palette, anew: boolean, finger: Finger | null): void;
}
