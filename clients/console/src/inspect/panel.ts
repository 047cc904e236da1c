import type { Character } from "../talk/character.js";
import { fill, h, mark, say, uid } from "../ui/dom.js";
import { type Animated, loop } from "../ui/loop.js";
import { BondTab } from "./bond.js";
import { MemoryTab } from "./memory.js";
import { MixTab } from "./mix.js";
import { SceneTab } from "./scene.js";
import type { Desk, MakeTab, Tab } from "./tab.js";
import { WhoTab } from "./who.js";

const TABS: readonly (readonly [name: string, make: MakeTab])[] = [
  ["Mix", (character) => new MixTab(character)],
  ["Scene", (character, desk) => new SceneTab(character, desk)],
  ["Who", (character) => new WhoTab(character)],
  ["Bond", (character) => new BondTab(character)],
  ["Memory", (character, desk) => new MemoryTab(character, desk)],
];

/** What is shown changes in every eighth frame at most. */
const EVERY = 8;

/** Names of the tabs, as keys choose them. */
export const TAB_NAMES: readonly string[] = TABS.map(([name]) => name);

/** Beside the stages: all about the NPC that is selected. */
export class Inspector implements Animated {
  readonly element: HTMLElement;
  readonly #desk: Desk;
  readonly #title = h("h2", {}, "");
  readonly #buttons: HTMLButtonElement[];
  readonly #panel: HTMLElement;
  #at = 0;
  #character: Character | undefined;
  #tab: Tab | undefined;
  #off: () => void = () => {};
  #isStale = false;

  constructor(desk: Desk) {
    this.#desk = desk;
    const panel = uid("panel");
    this.#buttons = TABS.map(([name], index) =>
      h(
        "button",
        {
          type: "button",
          role: "tab",
          id: uid("tab"),
          "aria-controls": panel,
          on: { click: () => this.open(index), keydown: (event) => this.#key(event, index) },
        },
        name,
      ),
    );
    this.#panel = h("div", { id: panel, class: "tab-panel", role: "tabpanel", tabindex: "0" });
    this.element = h(
      "aside",
      { class: "inspector", "aria-label": "About the selected character" },
      this.#title,
      h("div", { class: "tabs", role: "tablist", "aria-label": "About the character" }, ...this.#buttons),
      this.#panel,
    );
    loop.add(this);
    desk.cast.selected.follow((character) => this.#show(character));
  }

  /** Opens a tab. */
  open(index: number): void {
    this.#at = index;
    this.#rebuild();
  }

  #show(character: Character | undefined): void {
    if (character === this.#character && this.#tab) return;
    this.#off();
    this.#character = character;
    this.#off =
      character?.changed.on(() => {
        this.#isStale = true;
        loop.wake();
      }) ?? (() => {});
    say(this.#title, character?.name ?? "");
    this.element.hidden = character === undefined;
    this.#rebuild();
  }

  #rebuild(): void {
    this.#buttons.forEach((button, index) => {
      const isOpen = index === this.#at;
      mark(button, "aria-selected", String(isOpen));
      mark(button, "tabindex", isOpen ? "0" : "-1");
    });
    mark(this.#panel, "aria-labelledby", this.#buttons[this.#at]?.id);
    this.#tab?.close?.();
    this.#tab = this.#character && TABS[this.#at]?.[1](this.#character, this.#desk);
    fill(this.#panel, this.#tab?.element);
  }

  /** Now and then, however much changes. */
  frame(_now: number, index: number): boolean {
    if (!this.#isStale || index % EVERY !== 0) return this.#isStale;
    this.#tab?.update();
    this.#isStale = false;
    return false;
  }

  #key(event: KeyboardEvent, index: number): void {
    const last = TABS.length - 1;
    const to = {
      ArrowRight: index === last ? 0 : index + 1,
      ArrowLeft: index === 0 ? last : index - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.open(to);
    this.#buttons[to]?.focus();
  }
}
