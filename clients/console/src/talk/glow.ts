import type { Emotion } from "npc-gateway-client";
import { h } from "../ui/dom.js";
import { feeling, themed } from "../ui/theme.js";

/** The strongest feeling, as an opacity. */
const MOST = 0.45;

/**
 * What is felt as a light behind the face. A new color comes in another light while the old one goes out: the browser fades
 * both by itself, where one light that changes its color would have to be painted in every frame.
 */
export class Glow {
  readonly lights = [light(), light()] as const;
  readonly #off = themed.on(() => this.#paint());
  #at = 0;
  #label = "neutral";

  constructor() {
    // What is felt first may be neutral, and strong: then no other label comes before it that would bring a color.
    this.#paint();
  }

  show(felt: Emotion | undefined): void {
    const label = felt?.label ?? "neutral";
    if (label !== this.#label) {
      this.#label = label;
      this.lights[this.#at]?.style.setProperty("opacity", "0");
      this.#at = 1 - this.#at;
      this.#paint();
    }
    this.lights[this.#at]?.style.setProperty("opacity", ((felt?.intensity ?? 0) * MOST).toFixed(2));
  }

  close(): void {
    this.#off();
  }

  #paint(): void {
    this.lights[this.#at]?.style.setProperty("--light", feeling(this.#label));
  }
}

function light(): HTMLElement {
  return h("div", { class: "glow", "aria-hidden": "true" });
}
