import { Easel } from "../draw/easel.js";
import { h, mark } from "../ui/dom.js";
import { isStill } from "../ui/loop.js";
import type { Look } from "./look.js";
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
  readonly #easel: Easel<"head">;
  #drawn: Pose | undefined;
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(look: Look, label: string) {
    this.#easel = new Easel({ kind: "head", look }, { role: "img", "aria-label": label });
    this.element = h("div", { class: "head" }, this.#easel.element);
    this.#easel.fit(this.element);
  }

  set label(text: string) {
    mark(this.#easel.element, "aria-label", text);
  }

  /** Whether what is drawn is another face. */
  isBehind(pose: Pose): boolean {
    return this.#easel.isSeen && (!this.#drawn || differs(pose, this.#drawn, EPSILON));
  }

  /** Shows the face if it is another one than before. */
  draw(pose: Pose, now: number): void {
    if (!this.isBehind(pose)) return;
    if (this.#drawn && isStill() && now - this.#drawnAt < STILL_MS && !isAtRest(pose)) return;
    this.#drawn ??= neutral();
    this.#drawn.set(pose);
    this.#drawnAt = now;
    this.#easel.show(this.#drawn);
  }

  close(): void {
    this.#easel.close();
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
