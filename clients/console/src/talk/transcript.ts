import type { TurnRecord } from "../turn/record.js";
import { fill, h } from "../ui/dom.js";
import type { Character } from "./character.js";
import { type LineHost, LineView } from "./line.js";

/** The conversation with one NPC, from the oldest line that is kept to the one that is just being said. */
export class Transcript {
  readonly element: HTMLElement;
  readonly #character: Character;
  readonly #host: LineHost;
  readonly #list = h("ol", { class: "lines" });
  readonly #waiting = h("ol", { class: "lines waiting" });
  readonly #lines = new Map<TurnRecord, LineView>();
  #isStale = true;
  #refusals = 0;

  /** `beginning` stands there until something was said. */
  constructor(character: Character, host: LineHost, beginning: HTMLElement) {
    this.#character = character;
    this.#host = host;
    // Filled from below, so that the newest line stays in sight.
    this.element = h(
      "section",
      { class: "transcript", tabindex: "0", "aria-label": `Conversation with ${character.name}` },
      h("div", {}, this.#list, this.#waiting, beginning),
    );
  }

  /** Something has changed. */
  touch(): void {
    this.#isStale = true;
  }

  draw(now: number): void {
    const { records, shown } = this.#character;
    if (this.#isStale) this.#arrange();
    const moment = this.#character.moment(now);
    const newest = records.at(-1);
    for (const [record, line] of this.#lines) {
      // What is not shown has been heard, unless it still plays.
      if (record === moment?.record) line.draw(moment.t);
      else if (record === newest) line.draw(now - record.startedAt);
      else line.draw(Number.POSITIVE_INFINITY);
    }
    if (this.#isStale) {
      this.#isStale = false;
      for (const [record, line] of this.#lines) line.isShown = record === shown && records.length > 1;
    }
  }

  #arrange(): void {
    const { records, waiting, refused, name } = this.#character;
    for (const [record, line] of this.#lines) {
      if (records.includes(record)) continue;
      line.element.remove();
      this.#lines.delete(record);
    }
    for (const record of records) {
      if (this.#lines.has(record)) continue;
      const line = new LineView(record, name, this.#host);
      this.#lines.set(record, line);
      this.#list.append(line.element);
    }
    if (this.#refusals !== refused.length) {
      this.#refusals = refused.length;
      const last = refused.at(-1);
      if (last) this.#list.append(this.#refusal(last.text, last.why));
    }
    fill(
      this.#waiting,
      ...waiting.map(({ text }) =>
        h(
          "li",
          { class: "exchange", "data-state": "waiting" },
          h("p", { class: "said" }, h("span", { class: "who" }, "you"), h("span", {}, text)),
          h("p", { class: "dots" }, `${name} is about to answer`),
        ),
      ),
    );
  }

  #refusal(text: string, why: string): HTMLElement {
    return h(
      "li",
      { class: "exchange", "data-state": "failed" },
      h("p", { class: "said" }, h("span", { class: "who" }, "you"), h("span", {}, text)),
      h("p", { class: "chip bad" }, why),
    );
  }
}
