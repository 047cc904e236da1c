import { Canvas, type Ctx, sizes } from "../ui/canvas.js";
import { h, mark } from "../ui/dom.js";
import { loop } from "../ui/loop.js";
import { colors, themed } from "../ui/theme.js";
import { noUnits, REGIONS, spelled, UNITS, type Units } from "./units.js";

/** Room between two regions, in bars. */
const GAP = 0.9;
/** For numbers and the names of regions. Where numbers would touch, every other one is lower. */
const LABELS = 26;
const CROWDED = 13;
const LOWER = 9;
/** Above the bars. */
const TOP = 2;
/** Smaller than can be seen. */
const EPSILON = 0.01;

/** Action units as bars, always in the same places: the left half of a bar is the character's right side. */
export class UnitBars {
  readonly element: HTMLElement;
  readonly #canvas: Canvas;
  readonly #drawn = noUnits();
  readonly #off: (() => void)[] = [];
  #rest: OffscreenCanvas | undefined;
  #stale = true;

  constructor() {
    const canvas = h("canvas", { role: "img", "aria-label": "Action units: no action unit" });
    this.element = h("div", { class: "units" }, canvas);
    this.#canvas = new Canvas(canvas);
    this.#off.push(
      sizes.watch(this.element, (width, height) => {
        if (this.#canvas.resize(width, height)) this.#repaint();
      }),
      themed.on(() => this.#repaint()),
    );
  }

  /** Whether what is drawn is something else. */
  isBehind(units: Units): boolean {
    if (this.#canvas.width === 0 || this.#canvas.height === 0) return false;
    return this.#stale || units.some((weight, index) => Math.abs(weight - (this.#drawn[index] ?? 0)) > EPSILON);
  }

  draw(units: Units): void {
    if (!this.isBehind(units)) return;
    // Letters and empty bars stay as they are: setting a font takes longer than all bars.
    if (this.#stale) this.#rest = this.#canvas.layer((ctx) => this.#drawRest(ctx));
    this.#drawn.set(units);
    this.#stale = false;
    const ctx = this.#canvas.begin();
    if (this.#rest) this.#canvas.lay(this.#rest);
    const { bar, full } = this.#plan();
    ctx.fillStyle = colors().accent;
    this.#each((x, place) => {
      const [left, right] = [units[place * 2] ?? 0, units[place * 2 + 1] ?? 0];
      if (left > 0) ctx.fillRect(x, TOP + full * (1 - left), bar / 2, full * left);
      if (right > 0) ctx.fillRect(x - bar / 2, TOP + full * (1 - right), bar / 2, full * right);
    });
  }

  /** Says what is shown. Not at every frame: nobody could listen to that. */
  spell(units: Units): void {
    mark(this.#canvas.element, "aria-label", `Action units: ${spelled(units)}`);
  }

  close(): void {
    for (const off of this.#off) off();
  }

  #plan(): { step: number; bar: number; full: number; lower: number } {
    const { width, height } = this.#canvas;
    const step = width / (UNITS.length + GAP * (REGIONS.length - 1));
    const lower = step < CROWDED ? LOWER : 0;
    return { step, bar: Math.max(2, Math.min(9, step * 0.66)), full: height - LABELS - lower - TOP, lower };
  }

  /** Calls it for each unit, with the middle of its bar. */
  #each(draw: (x: number, place: number) => void): void {
    const { step } = this.#plan();
    let x = step / 2;
    UNITS.forEach(({ region }, place) => {
      draw(x, place);
      x += step + (UNITS[place + 1]?.region === region ? 0 : GAP * step);
    });
  }

  #drawRest(ctx: Ctx): void {
    const { height } = this.#canvas;
    const { soft, line } = colors();
    const { step, bar, full, lower } = this.#plan();
    ctx.textAlign = "center";
    ctx.font = `${lower > 0 ? 9 : Math.min(10.5, step * 0.8).toFixed(1)}px system-ui, sans-serif`;
    let begin = 0;
    this.#each((x, place) => {
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

  #repaint(): void {
    this.#stale = true;
    loop.wake();
  }
}
