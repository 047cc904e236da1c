import { h } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import type { Character } from "./character.js";

/** Lines that can be said with one press, until something was said. */
const OPENINGS = [
  "Good evening.",
  "Who are you?",
  "You look like something the rats left behind.",
  "I brought you a gift.",
];
/** Lines that come back with the arrow keys. */
const MAX_SAID = 50;

export interface ComposerHost {
  say(text: string): void;
  cancel(): void;
  /** What goes wrong is told there. */
  complain(why: string): void;
  maxChars(): number;
}

/** Where a line is written, and what the NPC says is cut off. */
export class Composer {
  readonly element: HTMLElement;
  /** Lines to begin with. They stand where the conversation will. */
  readonly openings: HTMLElement;
  readonly #input: HTMLInputElement;
  readonly #say: HTMLButtonElement;
  readonly #cancel: HTMLButtonElement;
  readonly #host: ComposerHost;
  readonly #said: string[] = [];
  /** Which of the lines that were said is in the field. */
  #back = 0;

  constructor(character: Character, host: ComposerHost) {
    this.#host = host;
    this.#input = h("input", {
      type: "text",
      class: "line",
      "aria-label": `Say to ${character.name}`,
      placeholder: `Say something to ${character.name}…`,
      autocomplete: "off",
      maxlength: host.maxChars(),
      on: { keydown: (event) => this.#key(event) },
    });
    this.#say = h(
      "button",
      { type: "submit", class: "primary" },
      icon("send"),
      h("span", { class: "label" }, "Say"),
    );
    this.#cancel = h(
      "button",
      { type: "button", "aria-keyshortcuts": "Escape", title: "Escape", on: { click: () => host.cancel() } },
      icon("stop"),
      h("span", { class: "label" }, "Cancel"),
    );
    this.openings = h(
      "div",
      { class: "openings" },
      ...OPENINGS.map((text) =>
        h("button", { type: "button", class: "opening", on: { click: () => this.#send(text) } }, text),
      ),
    );
    this.element = h(
      "form",
      {
        class: "composer",
        on: {
          submit: (event) => {
            event.preventDefault();
            this.#send(this.#input.value);
          },
        },
      },
      this.#input,
      this.#say,
      this.#cancel,
    );
  }

  focus(): void {
    this.#input.focus();
  }

  /** Shows whether there is something to cut off. */
  draw(isBusy: boolean, isFresh: boolean): void {
    if (this.#cancel.disabled === isBusy) this.#cancel.disabled = !isBusy;
    if (this.openings.hidden === isFresh) this.openings.hidden = !isFresh;
  }

  #send(given: string): void {
    const text = given.trim();
    if (text === "") return;
    try {
      this.#host.say(text);
    } catch (error) {
      this.#host.complain(error instanceof Error ? error.message : String(error));
      return;
    }
    if (this.#said.at(-1) !== text) this.#said.push(text);
    if (this.#said.length > MAX_SAID) this.#said.shift();
    this.#back = 0;
    this.#input.value = "";
    this.#input.focus();
  }

  #key(event: KeyboardEvent): void {
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (step === undefined || event.isComposing) return;
    const back = Math.max(0, Math.min(this.#said.length, this.#back + step));
    if (back === this.#back) return;
    this.#back = back;
    this.#input.value = back === 0 ? "" : (this.#said.at(-back) ?? "");
    event.preventDefault();
  }
}
