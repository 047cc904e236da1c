import { LEAST_HEARTBEAT_MS, LONGEST_TIMER_MS } from "./limits.js";

/**
 * Beats at the server's interval, the first time somewhere within it, and notices when the server is silent for
 * two of them.
 *
 * @internal
 */
export class Heartbeat {
  readonly #beat: () => void;
  readonly #dead: () => void;
  readonly #random: () => number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #unanswered = 0;

  constructor(beat: () => void, dead: () => void, random: () => number = Math.random) {
    this.#beat = beat;
    this.#dead = dead;
    this.#random = random;
  }

  start(wanted: number): void {
    const intervalMs = Math.min(LONGEST_TIMER_MS, Math.max(LEAST_HEARTBEAT_MS, wanted));
    this.stop();
    this.#unanswered = 0;
    const tick = () => {
      if (this.#unanswered >= 2) return this.#dead();
      this.#unanswered += 1;
      this.#timer = setTimeout(tick, intervalMs);
      this.#beat();
    };
    this.#timer = setTimeout(tick, this.#random() * intervalMs);
  }

  /** The server sent something. */
  alive(): void {
    this.#unanswered = 0;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
