import type { Relationship } from "npc-gateway-client";
import type { Character } from "../talk/character.js";
import { fill, h, mark, say } from "../ui/dom.js";
import { percent, signed } from "../ui/format.js";
import type { Tab } from "./tab.js";

const AXES = [
  "trust",
  "respect",
  "familiarity",
  "fear",
  "affection",
] as const satisfies readonly (keyof Relationship)[];

/** Whether a value or a change of an axis is to the player's good: fear is the one that is not. */
export function isGood(axis: string, value: number): boolean {
  return axis === "fear" ? value <= 0 : value >= 0;
}

/** What the NPC thinks of the player, and what it wants. */
export class BondTab implements Tab {
  readonly element: HTMLElement;
  readonly #character: Character;
  readonly #axes: { axis: (typeof AXES)[number]; value: HTMLElement; bar: HTMLElement; move: HTMLElement }[];
  readonly #goals = h("ol", { class: "goals" });
  #shown: unknown = null;

  constructor(character: Character) {
    this.#character = character;
    this.#axes = AXES.map((axis) => ({
      axis,
      value: h("span", { class: "num" }),
      bar: h("span", { class: "bond-bar" }),
      move: h("span", { class: "bond-move" }),
    }));
    this.element = h(
      "div",
      { class: "tab-body" },
      h("h3", {}, "What it thinks of you"),
      h(
        "ul",
        { class: "bond" },
        ...this.#axes.map(({ axis, value, bar, move }) =>
          h(
            "li",
            {},
            h("span", { class: "bond-name" }, axis),
            h("span", { class: "bond-track" }, bar),
            value,
            move,
          ),
        ),
      ),
      h("p", { class: "hint" }, "From −1 to 1, and how the last line moved it."),
      h("h3", {}, "What it wants"),
      this.#goals,
    );
    this.update();
  }

  update(): void {
    const { relationship, moved, goals } = this.#character;
    for (const { axis, value, bar, move } of this.#axes) {
      const at = relationship?.[axis];
      say(value, at === undefined ? "?" : signed(at));
      bar.style.setProperty("--at", String(at ?? 0));
      mark(bar, "data-way", isGood(axis, at ?? 0) ? "up" : "down");
      const change = moved[axis] ?? 0;
      say(move, Math.abs(change) < 0.005 ? "" : signed(change));
      mark(move, "data-way", isGood(axis, change) ? "up" : "down");
    }
    const wanted = goals ?? this.#character.npc.info.npc.goals;
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    const items = (wanted ?? []).map((goal) => {
      const strength = "p" in goal ? goal.p : goal.priority;
      const bar = h("span", { class: "odds-bar" });
      bar.style.setProperty("--share", String(Math.max(0, Math.min(1, strength))));
      return h(
        "li",
        {},
        h("span", {}, goal.text),
        bar,
        h("span", { class: "num" }, "p" in goal ? percent(strength) : signed(strength)),
      );
    });
    fill(this.#goals, ...(items.length > 0 ? items : [h("li", { class: "dim" }, "Nothing in particular.")]));
  }
}
