import type { Emotion } from "npc-gateway-client";
import { h, mark, say } from "../ui/dom.js";
import { percent } from "../ui/format.js";
import { feeling, themed } from "../ui/theme.js";

/** Feelings that are told with their probabilities. */
const MOST = 4;

/** What an NPC feels, in a word, and what else it might be. */
export class FeelingView {
  readonly element: HTMLElement;
  readonly #word = h("span", { class: "feeling-word" }, "neutral");
  readonly #strength = h("span", { class: "feeling-strength" });
  readonly #odds = Array.from({ length: MOST }, () => new Chance());
  readonly #off: () => void;
  #shown: Emotion | undefined;
  #isShown = false;

  constructor() {
    this.element = h(
      "div",
      { class: "feeling" },
      h("p", { class: "feeling-line" }, this.#word, " ", this.#strength),
      h("ul", { class: "odds" }, ...this.#odds.map(({ element }) => element)),
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
    const odds = Object.entries(felt?.probs ?? {}).sort(([, a], [, b]) => b - a);
    for (const [place, chance] of this.#odds.entries()) chance.show(odds[place]);
    return true;
  }

  close(): void {
    this.#off();
  }
}

/** One feeling and how likely it is. The same elements again and again: others would be laid out anew. */
class Chance {
  readonly #name = h("span", { class: "odds-name" });
  readonly #bar = h("span", { class: "odds-bar" });
  readonly #p = h("span", { class: "odds-p" });
  readonly element = h("li", { hidden: true }, this.#name, this.#bar, this.#p);

  show(chance: [name: string, p: number] | undefined): void {
    mark(this.element, "hidden", chance ? undefined : "");
    if (!chance) return;
    const [name, p] = chance;
    say(this.#name, name);
    this.#bar.style.setProperty("--share", String(p));
    this.#bar.style.setProperty("--feeling", feeling(name));
    say(this.#p, percent(p));
  }
}
