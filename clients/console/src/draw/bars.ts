import { REGIONS, UNITS, type Units } from "../face/units.js";
import type { Canvas, Ctx } from "../ui/canvas.js";
import type { Palette } from "../ui/palette.js";
import type { Painter } from "./orders.js";

/** Room between two regions, in bars. */
const GAP = 0.9;
/** For numbers and the names of regions. Where numbers would touch, every other one is lower. */
const LABELS = 26;
const CROWDED = 13;
const LOWER = 9;
/** Above the bars. */
const TOP = 2;

interface Plan {
  height: number;
  step: number;
  bar: number;
  full: number;
  lower: number;
}

/** Draws action units as bars: the left half of a bar is the character's right side. */
export class BarsPainter implements Painter<Units> {
  #rest: OffscreenCanvas | undefined;

  paint(canvas: Canvas, units: Units, palette: Palette, anew: boolean): void {
    const plan = planOf(canvas);
    // Letters and empty bars stay as they are: setting a font takes longer than all bars.
    if (anew || !this.#rest) this.#rest = canvas.layer((ctx) => drawRest(ctx, plan, palette));
    const ctx = canvas.begin();
    canvas.lay(this.#rest);
    const { bar, full } = plan;
    ctx.fillStyle = palette.accent;
    each(plan, (x, place) => {
      const [left, right] = [units[place * 2] ?? 0, units[place * 2 + 1] ?? 0];
      if (left > 0) ctx.fillRect(x, TOP + full * (1 - left), bar / 2, full * left);
      if (right > 0) ctx.fillRect(x - bar / 2, TOP + full * (1 - right), bar / 2, full * right);
    });
  }
}

function planOf({ width, height }: Canvas): Plan {
  const step = width / (UNITS.length + GAP * (REGIONS.length - 1));
  const lower = step < CROWDED ? LOWER : 0;
  return {
    height,
    step,
    bar: Math.max(2, Math.min(9, step * 0.66)),
    full: height - LABELS - lower - TOP,
    lower,
  };
}

/** Calls it for each unit, with the middle of its bar. */
function each({ step }: Plan, draw: (x: number, place: number) => void): void {
  let x = step / 2;
  UNITS.forEach(({ region }, place) => {
    draw(x, place);
    x += step + (UNITS[place + 1]?.region === region ? 0 : GAP * step);
  });
}

function drawRest(ctx: Ctx, plan: Plan, { soft, line }: Palette): void {
  const { height, step, bar, full, lower } = plan;
  ctx.textAlign = "center";
  ctx.font = `${lower > 0 ? 9 : Math.min(10.5, step * 0.8).toFixed(1)}px system-ui, sans-serif`;
  let begin = 0;
  each(plan, (x, place) => {
    const { number, region } = UNITS[place] ?? { number: 0, region: "" };
    ctx.fillStyle = line;
    ctx.fillRect(x - bar / 2, TOP, bar, full);
    ctx.fillStyle = soft;
    ctx.fillText(String(number), x, height - LABELS - lower + 10 + (place % 2) * lower);
    if (UNITS[place + 1]?.region === region) return;
    const end = x + step / 2;
    ctx.fillStyle = line;
    ctx.fillRect(begin + 1, height - LABELS + 14, end - begin - 2, 1);
    ctx.fillStyle = soft;
    ctx.fillText(region === "cheeks and nose" ? "nose" : region, (begin + end) / 2, height - 2);
    begin = end + GAP * step;
  });
}
