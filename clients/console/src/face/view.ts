import { Canvas, type Ctx, sizes } from "../ui/canvas.js";
import { h, mark } from "../ui/dom.js";
import { isStill, loop } from "../ui/loop.js";
import { drawBefore, drawBehind, drawFace, HEIGHT, WIDTH } from "./head.js";
import type { Look } from "./look.js";
import { Paints } from "./paints.js";
import { neutral, type Pose } from "./shapes.js";

/** The fastest that a face on the screen moves: the whole range of a shape in so many milliseconds. */
const WHOLE_MS = 50;
/** With less motion wanted, a face changes so often and jumps. */
const STILL_MS = 400;
/** Smaller than can be seen. */
const EPSILON = 1 / 512;

/**
 * Moves a face towards what it should be, so that it never jumps when frames come late; whether it is not there yet.
 */
export function approach(pose: Pose, target: Pose, passedMs: number): boolean {
  const step = passedMs / WHOLE_MS;
  let away = false;
  for (let index = 0; index < pose.length; index += 1) {
    const was = pose[index] ?? 0;
    const left = (target[index] ?? 0) - was;
    if (Math.abs(left) <= step) {
      pose[index] = target[index] ?? 0;
    } else {
      pose[index] = was + Math.sign(left) * step;
      away = true;
    }
  }
  return away;
}

/** A head on the page. */
export class HeadView {
  readonly element: HTMLElement;
  readonly #canvas: Canvas;
  readonly #drawn = neutral();
  readonly #paints = new Paints();
  readonly #unwatch: () => void;
  readonly #look: Look;
  #layers: { behind: OffscreenCanvas; before: OffscreenCanvas } | undefined;
  #stale = true;
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(look: Look, label: string) {
    this.#look = look;
    const canvas = h("canvas", { role: "img", "aria-label": label });
    this.element = h("div", { class: "head" }, canvas);
    this.#canvas = new Canvas(canvas);
    this.#unwatch = sizes.watch(this.element, (width, height) => {
      if (this.#canvas.resize(width, height)) {
        this.#stale = true;
        loop.wake();
      }
    });
  }

  set label(text: string) {
    mark(this.#canvas.element, "aria-label", text);
  }

  /** Whether what is drawn is another face. */
  isBehind(pose: Pose): boolean {
    if (this.#canvas.width === 0 || this.#canvas.height === 0) return false;
    return this.#stale || differs(pose, this.#drawn, EPSILON);
  }

  /** Draws the face if it is another one than before. */
  draw(pose: Pose, now: number): void {
    if (!this.isBehind(pose)) return;
    if (!this.#stale && isStill() && now - this.#drawnAt < STILL_MS && !isAtRest(pose)) return;
    const look = this.#look;
    if (this.#stale) {
      this.#paints.clear();
      this.#layers = {
        behind: this.#canvas.layer((ctx) => this.#inBox(ctx, () => drawBehind(ctx, look))),
        before: this.#canvas.layer((ctx) => this.#inBox(ctx, () => drawBefore(ctx, look))),
      };
    }
    const layers = this.#layers;
    if (!layers) return;
    const ctx = this.#canvas.begin();
    this.#canvas.lay(layers.behind);
    this.#inBox(ctx, () => drawFace(ctx, pose, look, this.#paints, () => this.#canvas.lay(layers.before)));
    this.#drawn.set(pose);
    this.#drawnAt = now;
    this.#stale = false;
  }

  close(): void {
    this.#unwatch();
  }

  /** Draws in units of the head's box, which stands on the floor of the canvas. */
  #inBox(ctx: Ctx, draw: () => void): void {
    const { width, height } = this.#canvas;
    const scale = Math.min(width / WIDTH, height / HEIGHT);
    ctx.save();
    ctx.translate((width - WIDTH * scale) / 2, height - HEIGHT * scale);
    ctx.scale(scale, scale);
    draw();
    ctx.restore();
  }
}

/** Whether two poses can be told apart. What is at rest is so exactly. */
function differs(a: Pose, b: Pose, epsilon: number): boolean {
  if (a.some((weight, index) => Math.abs(weight - (b[index] ?? 0)) > epsilon)) return true;
  return isAtRest(a) && !isAtRest(b);
}

function isAtRest(pose: Pose): boolean {
  return pose.every((weight) => weight === 0);
}
