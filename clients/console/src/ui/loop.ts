import { Signal } from "./signal.js";

/** Something on the page that moves. */
export interface Animated {
  /**
   * Draws what has changed at `now` (`performance.now()`); whether it will change again by itself. `index` counts the
   * frames, so that not everything is drawn in each.
   */
  frame(now: number, index: number): boolean;
}

/** Frames whose cost is kept. */
const KEPT = 1024;
/** So many messages since the last frame are enough to do in one. */
const MANY = 5;
/** Frames in a row in which what can wait waits, at most. */
const PATIENCE = 3;

/** What a test or a person at the browser's console may read of the page's own work. */
export interface FrameCosts {
  /** Frames since the page was opened in which anything was looked at. */
  count: number;
  /** Milliseconds of the last frames (1024 at most), the newest last. */
  last: number[];
}

declare global {
  interface Window {
    /** For whoever measures the page. */
    __console?: { frames(): FrameCosts };
  }
}

/** One loop for all that moves: no frame is asked for while nothing does. */
export class Loop {
  /** All that moves has been asked in this frame. */
  readonly after = new Signal<void>();
  readonly #items = new Set<Animated>();
  readonly #costs = new Float32Array(KEPT);
  #count = 0;
  #asked = false;
  #came = 0;
  #waited = 0;

  /**
   * Whether so much came since the last frame that what can wait for the next one should. What does must ask for that
   * frame.
   */
  get isFull(): boolean {
    return this.#waited > 0;
  }

  /** A message came, which the page has read in the time of the next frame. */
  came(): void {
    this.#came += 1;
  }

  /** Adds something; the function takes it away again. */
  add(item: Animated): () => void {
    this.#items.add(item);
    this.wake();
    return () => this.#items.delete(item);
  }

  /** Something has changed. */
  wake(): void {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(this.#frame);
  }

  costs(): FrameCosts {
    const kept = Math.min(this.#count, KEPT);
    const last = Array.from({ length: kept }, (_, index) => {
      return this.#costs[(this.#count - kept + index) % KEPT] ?? 0;
    });
    return { count: this.#count, last };
  }

  readonly #frame = (now: number): void => {
    this.#asked = false;
    const began = performance.now();
    this.#waited = this.#came >= MANY && this.#waited < PATIENCE ? this.#waited + 1 : 0;
    this.#came = 0;
    let moving = false;
    for (const item of this.#items) {
      if (item.frame(now, this.#count)) moving = true;
    }
    this.after.emit();
    this.#costs[this.#count % KEPT] = performance.now() - began;
    this.#count += 1;
    if (moving) this.wake();
  };
}

export const loop = new Loop();

const reduced = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether the person wants nothing to move that need not. */
export function isStill(): boolean {
  return reduced.matches;
}
