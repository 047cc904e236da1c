import type { AdapterUse } from "npc-gateway-client";
import type { Character } from "../talk/character.js";
import { fill, h, mark, say, uid } from "../ui/dom.js";
import { words } from "../ui/format.js";
import type { Tab } from "./tab.js";

/** What each task is for. */
const WHAT: { readonly [task: string]: string } = {
  personality: "how it behaves",
  dialogue_style: "how it speaks",
  action_policy: "what it does",
  emotional_response: "what it feels",
  world_knowledge: "what it knows",
  social_dynamics: "what it thinks of you",
  goal_prioritization: "what it wants",
};

/** The weights that the next line is said with: those that are moved go along, the others stay the pack's. */
export class MixTab implements Tab {
  readonly element: HTMLElement;
  readonly #character: Character;
  readonly #sliders: Slider[];
  readonly #used = h("ul", { class: "used-list" });
  readonly #reset: HTMLButtonElement;
  #shown: readonly AdapterUse[] | undefined | null = null;

  constructor(character: Character) {
    this.#character = character;
    const { tasks } = character.npc.info.chain;
    this.#sliders = character.tasks.map((task) => new Slider(character, task, tasks[task]?.version ?? ""));
    this.#reset = h(
      "button",
      { type: "button", class: "small", on: { click: () => this.#clear() } },
      "Back to the pack’s mix",
    );
    const none = h(
      "p",
      { class: "hint" },
      `No adapter of ${character.archetype} is in use: the base model speaks, and there is nothing to mix.`,
    );
    this.element = h(
      "div",
      { class: "tab-body" },
      h(
        "p",
        { class: "hint" },
        "How strongly each adapter takes part in the next line, from −2 to 2; 0 leaves it out.",
      ),
      this.#sliders.length === 0
        ? none
        : h("div", { class: "sliders" }, ...this.#sliders.map(({ element }) => element)),
      this.#sliders.length > 0 && this.#reset,
      h("h3", {}, "In the last line"),
      this.#used,
    );
    this.update();
  }

  update(): void {
    for (const slider of this.#sliders) slider.update();
    mark(this.#reset, "disabled", this.#character.mix.size === 0 ? "" : undefined);
    const { used } = this.#character;
    if (this.#shown === used) return;
    this.#shown = used;
    const items = (used ?? []).map(({ id, version, weight }) =>
      h(
        "li",
        {},
        h("span", {}, id),
        h("span", { class: "dim" }, version),
        h("span", { class: "num" }, `× ${weight.toFixed(2)}`),
      ),
    );
    fill(this.#used, ...(items.length > 0 ? items : [h("li", { class: "dim" }, "Nothing was said yet.")]));
  }

  #clear(): void {
    this.#character.mix.clear();
    this.#character.touch();
  }
}

class Slider {
  readonly element: HTMLElement;
  readonly #character: Character;
  readonly #task: string;
  readonly #input: HTMLInputElement;
  readonly #value = h("output", { class: "num" });
  #shown: { usual: readonly AdapterUse[] | undefined; asked: number | undefined } | undefined;

  constructor(character: Character, task: string, version: string) {
    this.#character = character;
    this.#task = task;
    const id = uid("mix");
    this.#input = h("input", {
      id,
      type: "range",
      min: "-2",
      max: "2",
      step: "0.05",
      "data-task": task,
      on: { input: () => this.#moved(), dblclick: () => this.#forget() },
    });
    this.element = h(
      "div",
      { class: "slider" },
      h(
        "label",
        { for: id },
        words(task),
        " ",
        h("span", { class: "dim" }, `${WHAT[task] ?? ""} ${version}`.trim()),
      ),
      this.#value,
      this.#input,
    );
  }

  update(): void {
    const { mix, usual } = this.#character;
    const asked = mix.get(this.#task);
    if (this.#shown && this.#shown.usual === usual && this.#shown.asked === asked) return;
    this.#shown = { usual, asked };
    const packs = usual?.find(({ task }) => task === this.#task)?.weight;
    const shown = asked ?? packs;
    if (document.activeElement !== this.#input || asked === undefined) this.#input.value = String(shown ?? 0);
    this.#input.style.setProperty("--at", String((Number(this.#input.value) + 2) / 4));
    mark(this.element, "data-asked", asked === undefined ? undefined : "");
    const text = shown === undefined ? "pack’s" : `${shown < 0 ? "−" : ""}${Math.abs(shown).toFixed(2)}`;
    say(this.#value, text);
    mark(this.#input, "aria-valuetext", asked === undefined ? `${text}, as the pack has it` : text);
  }

  #moved(): void {
    this.#character.mix.set(this.#task, Number(this.#input.value));
    this.#character.touch();
  }

  #forget(): void {
    this.#character.mix.delete(this.#task);
    this.#character.touch();
  }
}
