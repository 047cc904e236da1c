import type { Emotion } from "npc-gateway-client";
import { fill, h, say } from "../ui/dom.js";
import { percent } from "../ui/format.js";
import { feeling, themed } from "../ui/theme.js";

/** Feelings that are told with their probabilities. */
const MOST = 4;

/** What an NPC feels, in a word, and what else it might be. */
export class FeelingView {
  readonly element: HTMLElement;
  readonly #word = h("span", { class: "feeling-word" }, "neutral");
  readonly #strength = h("span", { class: "feeling-strength" });
  readonly #odds = h("ul", { class: "odds" });
  readonly #off: () => void;
  #shown: Emotion | undefined;
  #isShown = false;

  constructor() {
    this.element = h(
      "div",
      { class: "feeling" },
      h("p", { class: "feeling-line" }, this.#word, " ", this.#strength),
      this.#odds,
    );
    this.#off = themed.on(() => {
      this.#isShown = false;
      this.show(this.#shown);
    });
    this.show(undefined);
  }

  /** Whether it is another one than before. */
  show(felt: Emotion | undefined): boolean {
    if (this.#isShown && felt === this.#shown) return false;
    this.#shown = felt;
    this.#isShown = true;
    const label = felt?.label ?? "neutral";
    say(this.#word, label);
    say(this.#strength, felt && label !== "neutral" ? percent(felt.intensity) : "");
    this.element.style.setProperty("--feeling", feeling(label));
    const odds = Object.entries(felt?.probs ?? {})
      .sort(([, a], [, b]) => b - a)
      .slice(0, MOST);
    fill(this.#odds, ...odds.map(([name, p]) => this.#chance(name, p)));
    return true;
  }

  close(): void {
    this.#off();
  }

  #chance(name: string, p: number): HTMLElement {
    const bar = h("span", { class: "odds-bar" });
    bar.style.setProperty("--share", String(p));
    bar.style.setProperty("--feeling", feeling(name));
    return h(
      "li",
      {},
      h("span", { class: "odds-name" }, name),
      bar,
      h("span", { class: "odds-p" }, percent(p)),
    );
  }
}
