import { isGood } from "../inspect/bond.js";
import type { Proposal, TurnRecord } from "../turn/record.js";
import { fill, h, mark, say } from "../ui/dom.js";
import { count, lasted, percent, signed, words } from "../ui/format.js";
import { type IconName, icon } from "../ui/icons.js";

/** What a line on the page can be asked to do. */
export interface LineHost {
  choose(record: TurnRecord): void;
  /** Says whether the game did what was proposed. */
  result(record: TurnRecord, proposal: Proposal, ok: boolean): void;
  /** Who speaks at this page. */
  player(): string;
}

/** One line of a player, and what the NPC answers: text at once, and how far it has been spoken. */
export class LineView {
  readonly element: HTMLLIElement;
  readonly #record: TurnRecord;
  readonly #host: LineHost;
  readonly #spoken = h("span", { class: "spoken" });
  readonly #ahead = h("span", { class: "ahead" });
  readonly #lost = h("span", { class: "lost" });
  readonly #notes = h("div", { class: "notes" });
  readonly #button: HTMLButtonElement;
  #version = -1;
  #noted = "";
  #offset = -1;

  constructor(record: TurnRecord, name: string, host: LineHost) {
    this.#record = record;
    this.#host = host;
    this.#button = h(
      "button",
      {
        type: "button",
        class: "pick",
        title: "Show this line in the timeline",
        on: { click: () => host.choose(record) },
      },
      h("span", { class: "sr" }, "Show in the timeline: "),
      name,
    );
    const who = record.player === host.player() ? "you" : record.player;
    this.element = h(
      "li",
      { class: "exchange", "data-turn": record.id, "data-state": record.state },
      h("p", { class: "said" }, h("span", { class: "who" }, who), h("span", {}, record.said)),
      h(
        "div",
        { class: "answer" },
        this.#button,
        " ",
        h("p", { class: "text" }, this.#spoken, this.#ahead, this.#lost),
      ),
      this.#notes,
    );
  }

  /** Shows what has come, and what is spoken at `t` of the turn's clock. */
  draw(t: number): void {
    const record = this.#record;
    const offset = record.speech.spokenAt(t);
    if (record.version === this.#version && offset === this.#offset) return;
    if (record.version !== this.#version) {
      this.#version = record.version;
      mark(this.element, "data-state", record.state);
      mark(this.element, "data-cancelled", record.cancelled ? "" : undefined);
      this.#note();
    }
    this.#offset = offset;
    // Whole words: what is half spoken is spoken.
    const text = record.text;
    const spoken = record.speech.slice(0, offset);
    const rest = text.startsWith(spoken) ? text.slice(spoken.length) : "";
    const word = /^\S*/.exec(rest)?.[0].length ?? 0;
    const upTo = offset === 0 ? 0 : spoken.length + word;
    say(this.#spoken, text.slice(0, upTo));
    say(this.#ahead, text.slice(upTo));
    // What was generated and does not count any more.
    const all = record.speech.text;
    say(this.#lost, record.cancelled && all.startsWith(text) ? all.slice(text.length) : "");
  }

  /** Whether it is the one in the timeline. */
  set isShown(shown: boolean) {
    if (shown) this.element.setAttribute("data-shown", "");
    else this.element.removeAttribute("data-shown");
    this.#button.setAttribute("aria-pressed", String(shown));
  }

  /** What stands behind the line, if there is something else than before. */
  #note(): void {
    const record = this.#record;
    const { actions, socials, failure, cancelled, done } = record;
    const noted = JSON.stringify([actions, socials.length, failure, cancelled, done?.reason]);
    if (noted === this.#noted) return;
    this.#noted = noted;
    fill(
      this.#notes,
      ...record.actions.map((action) => this.#action(action)),
      ...this.#shifts(),
      record.failure === undefined ? undefined : h("span", { class: "chip bad" }, record.failure),
      this.#end(),
      this.#mix(),
    );
  }

  #action(proposal: Proposal): HTMLElement {
    const { name, p, retracted, result } = proposal;
    const isMine = this.#record.player === this.#host.player();
    const report = (ok: boolean, label: string, sign: IconName) =>
      h(
        "button",
        {
          type: "button",
          class: "tick",
          "aria-label": label,
          title: label,
          on: { click: () => this.#host.result(this.#record, proposal, ok) },
        },
        icon(sign),
      );
    return h(
      "span",
      { class: "chip act", "data-retracted": retracted, "data-result": result },
      h("span", { class: "act-name" }, words(name)),
      h("span", { class: "dim" }, percent(p)),
      retracted && h("span", { class: "dim" }, "taken back"),
      result === "done" && h("span", { class: "dim" }, "done"),
      result === "failed" && h("span", { class: "dim" }, "did not work"),
      isMine && !retracted && result === undefined && report(true, `The game did it: ${words(name)}`, "done"),
      isMine && !retracted && result === undefined && report(false, `It did not work: ${words(name)}`, "close"),
    );
  }

  #shifts(): HTMLElement[] {
    return this.#record.socials.flatMap(({ delta }) =>
      Object.entries(delta)
        .filter(([, change]) => Math.abs(change) >= 0.005)
        .map(([axis, change]) =>
          h("span", { class: `chip ${isGood(axis, change) ? "up" : "down"}` }, `${axis} ${signed(change)}`),
        ),
    );
  }

  #end(): HTMLElement | undefined {
    const { done, cancelled } = this.#record;
    if (!done) return cancelled ? h("span", { class: "facts" }, "cut off") : undefined;
    const { usage, timing, reason, fallback } = done;
    const facts = [
      cancelled ? `cut off at ${lasted(cancelled.t_ms)}` : undefined,
      fallback ? "a line of the pack: the model had no time" : undefined,
      reason === "stop" || reason === "cancelled" ? undefined : reason,
      `${count(usage.generated_tokens)} tokens`,
      `first after ${lasted(timing.ttft_ms)}`,
    ];
    return h("span", { class: "facts", "data-reason": reason }, facts.filter(Boolean).join(" · "));
  }

  /** The mix that the gateway says it used. */
  #mix(): HTMLElement {
    const { adapters, generic, started, done } = this.#record;
    if (adapters.length === 0) {
      return h("span", { class: "facts used" }, generic ? "base model, no adapter" : "no adapter");
    }
    const reason =
      started.reason === undefined || started.reason === "promoted" ? "" : ` (${words(started.reason)})`;
    return h(
      "details",
      { class: "used" },
      h("summary", {}, `mix of ${adapters.length}${reason}`),
      h(
        "ul",
        {},
        ...adapters.map(({ id, task, version, weight }) =>
          h(
            "li",
            { "data-task": task, "data-weight": weight.toFixed(2) },
            `${id} ${version} × ${weight.toFixed(2)}`,
          ),
        ),
        done &&
          h(
            "li",
            {},
            `${count(done.usage.cached_tokens)} of ${count(done.usage.prompt_tokens)} prompt tokens warm`,
          ),
      ),
    );
  }
}
