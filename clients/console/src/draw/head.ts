import { drawBefore, drawBehind, drawFace, HEIGHT, WIDTH } from "../face/head.js";
import type { Look } from "../face/look.js";
import { Paints } from "../face/paints.js";
import type { Pose } from "../face/shapes.js";
import type { Canvas, Ctx } from "../ui/canvas.js";
import type { Palette } from "../ui/palette.js";
import type { Painter } from "./orders.js";

/** Draws a head that stands on the floor of its canvas. */
export class HeadPainter implements Painter<Pose> {
  readonly #look: Look;
  readonly #paints = new Paints();
  #layers: { behind: OffscreenCanvas; before: OffscreenCanvas } | undefined;

  constructor(look: Look) {
    this.#look = look;
  }

  paint(canvas: Canvas, pose: Pose, _palette: Palette, anew: boolean): void {
    const look = this.#look;
    if (anew || !this.#layers) {
      this.#paints.clear();
      this.#layers = {
        behind: canvas.layer((ctx) => inBox(canvas, ctx, () => drawBehind(ctx, look))),
        before: canvas.layer((ctx) => inBox(canvas, ctx, () => drawBefore(ctx, look))),
      };
    }
    const { behind, before } = this.#layers;
    const ctx = canvas.begin();
    canvas.lay(behind);
    inBox(canvas, ctx, () => drawFace(ctx, pose, look, this.#paints, () => canvas.lay(before)));
  }
}

/** Draws in units of the head's box. */
function inBox({ width, height }: Canvas, ctx: Ctx, draw: () => void): void {
  const scale = Math.min(width / WIDTH, height / HEIGHT);
  ctx.save();
  ctx.translate((width - WIDTH * scale) / 2, height - HEIGHT * scale);
  ctx.scale(scale, scale);
  draw();
  ctx.restore();
}
