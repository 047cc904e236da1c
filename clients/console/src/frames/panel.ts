import type { Connection } from "../net/connection.js";
import { asJson, asText, type FrameLog, KEPT, type Logged, matches, payloadText } from "../net/log.js";
import type { Cast } from "../talk/cast.js";
import { fill, h, hidden, mark, say } from "../ui/dom.js";
import { count, short } from "../ui/format.js";
import { icon } from "../ui/icons.js";
import { type Animated, loop } from "../ui/loop.js";

/** Rows on the page; the list of frames keeps more. */
const ROWS = 150;
/** Rows that are added in one frame of the page. */
const ROWS_A_FRAME = 12;
/** How long it is said that frames were copied. */
const NOTE_MS = 4000;

export interface FramesHost {
  cast: Cast;
  complain(why: string): void;
}

/** The raw frames: filtered, held still, copied, and a turn of them played again. */
export class FramesPanel implements Animated {
  readonly element: HTMLElement;
  readonly #log: FrameLog;
  readonly #host: FramesHost;
  readonly #rows = h("ol", { class: "rows" });
  readonly #status = h("output", { class: "dim" });
  readonly #copied = h("output", { class: "dim" });
  readonly #filter: HTMLInputElement;
  readonly #pause: HTMLButtonElement;
  readonly #replay: HTMLButtonElement;
  /** Number of the next frame to show. */
  #next = 1;
  #paused = false;
  #selected: Logged | undefined;

  constructor(connection: Connection, host: FramesHost) {
    this.#log = connection.log;
    this.#host = host;
    this.#filter = h("input", {
      type: "search",
      class: "filter",
      "aria-label": "Filter: words that a frame must have; with - before it, must not",
      placeholder: "face.key -heartbeat",
      on: { input: () => this.#again() },
    });
    this.#pause = button("pause", "Pause", () => this.#hold(!this.#paused));
    this.#replay = button("play", "Replay turn", () => this.#play());
    this.element = h(
      "section",
      { class: "frames", "aria-label": "Frames", hidden: true },
      h(
        "div",
        { class: "frames-head" },
        h("h2", {}, "Frames"),
        this.#filter,
        this.#pause,
        button("copy", "Copy", () => void this.#copy()),
        this.#replay,
        this.#copied,
        this.#status,
      ),
      h(
        "div",
        { class: "frames-list", tabindex: "0", role: "region", "aria-label": "List of frames" },
        this.#rows,
      ),
    );
    this.#log.added.on(() => {
      if (!this.element.hidden && !this.#paused) loop.wake();
    });
    loop.add(this);
  }

  get isOpen(): boolean {
    return !this.element.hidden;
  }

  toggle(open = this.element.hidden): void {
    this.element.hidden = !open;
    if (open) this.#again();
  }

  frame(): boolean {
    if (this.element.hidden || this.#paused) return false;
    let added = 0;
    const behind = this.#log.count - this.#next >= ROWS * 2;
    if (behind && this.#filter.value === "") this.#next = this.#log.count - ROWS;
    for (const frame of this.#log.from(this.#next)) {
      if (added >= ROWS_A_FRAME) break;
      this.#next = frame.number + 1;
      if (!matches(frame, this.#filter.value)) continue;
      this.#rows.prepend(this.#row(frame));
      added += 1;
    }
    while (this.#rows.childElementCount > ROWS) this.#rows.lastElementChild?.remove();
    say(this.#status, `${count(this.#log.count)} frames; the last ${count(KEPT)} are kept`);
    return this.#next <= this.#log.count;
  }

  #again(): void {
    this.#rows.replaceChildren();
    this.#next = 1;
    loop.wake();
  }

  #hold(paused: boolean): void {
    this.#paused = paused;
    mark(this.#pause, "aria-pressed", String(paused));
    fill(this.#pause, icon(paused ? "play" : "pause"), paused ? "Go on" : "Pause");
    loop.wake();
  }

  #row(frame: Logged): HTMLElement {
    const { way, op, s, at, size } = frame;
    const more = h("pre", { hidden: true });
    const open = () => {
      const isOpen = more.hidden;
      more.hidden = !isOpen;
      if (isOpen) {
        say(more, asText(frame, 2));
        this.#selected = frame;
      }
      mark(head, "aria-expanded", String(isOpen));
    };
    const head = h(
      "button",
      { type: "button", class: "row-head", "aria-expanded": "false", on: { click: open } },
      h("span", { class: "num" }, (at / 1000).toFixed(3)),
      h(
        "span",
        { class: "way" },
        icon(way === "in" ? "in" : "send"),
        hidden(way === "in" ? "received" : "sent"),
      ),
      h("span", { class: "num" }, s === undefined ? "" : String(s)),
      h("span", { class: "op" }, op),
      h("span", { class: "num dim" }, `${size} B`),
      h("span", { class: "what" }, short(payloadText(frame), 240)),
    );
    return h("li", { "data-op": op, "data-way": way }, head, more);
  }

  /** Everything that the filter lets through, a frame a line. */
  async #copy(): Promise<void> {
    const frames = [...this.#log.from()].filter((frame) => matches(frame, this.#filter.value));
    const text = frames.map((frame) => `${frame.way === "in" ? "←" : "→"} ${asJson(frame)}`).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      say(this.#copied, `${count(frames.length)} copied`);
      setTimeout(() => say(this.#copied, ""), NOTE_MS);
    } catch {
      this.#host.complain("The browser does not let this page write to the clipboard.");
    }
  }

  /** Plays the turn of the frame that was opened last, or the newest one, on its NPC's stage. */
  #play(): void {
    const { cast } = this.#host;
    const id = this.#selected?.d["turn"];
    for (const character of cast.all) {
      const record = character.records.findLast((record) => record.id === id);
      if (!record) continue;
      cast.selected.set(character);
      character.choose(record);
      character.replay();
      return;
    }
    const character = cast.selected.value;
    if (character?.shown) character.replay();
    else this.#host.complain("No turn is kept that could be played again.");
  }
}

function button(name: Parameters<typeof icon>[0], label: string, click: () => void): HTMLButtonElement {
  return h("button", { type: "button", class: "small", on: { click } }, icon(name), label);
}
