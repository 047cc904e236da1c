import { Easel } from "../draw/easel.js";
import type { Finger } from "../draw/orders.js";
import { GUTTER } from "../draw/timeline.js";
import type { TurnRecord } from "../turn/record.js";
import { h, mark, say, uid } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { loop } from "../ui/loop.js";
import type { Character } from "./character.js";
import { scoreOf } from "./score.js";
import { spelledMoment } from "./spelled.js";

/** While a line comes in, the picture is drawn anew so often. */
const REDRAW_MS = 400;
/** Between two samples of the face, in units of the page. */
const SAMPLE = 3;
/** One press of an arrow key, and with Shift. */
const STEP_MS = 100;
const LEAP_MS = 1000;

/** The turn on one axis, and a finger on it that goes along, or is held where something is to be looked at. */
export class Timeline {
  readonly element: HTMLElement;
  readonly #character: Character;
  readonly #easel = new Easel<"timeline">({ kind: "timeline" }, { "aria-hidden": "true" });
  readonly #slider: HTMLElement;
  readonly #readout = h("output", { class: "readout" });
  readonly #replay: HTMLButtonElement;
  readonly #live: HTMLButtonElement;
  #drawn: { record: TurnRecord | undefined; version: number; span: number } | undefined;
  #drawnAt = 0;
  #stale = true;
  #owes = true;
  #spelledAt = 0;
  #finger: Finger | undefined;
  #pointed: number | undefined;

  constructor(character: Character) {
    this.#character = character;
    const label = uid("timeline");
    this.#slider = h(
      "div",
      {
        class: "timeline",
        role: "slider",
        tabindex: "0",
        "aria-labelledby": label,
        "aria-valuemin": "0",
        "aria-valuemax": "0",
        "aria-valuenow": "0",
        "aria-valuetext": "nothing was said yet",
        on: {
          keydown: (event) => this.#key(event),
          pointerdown: (event) => this.#down(event),
          pointermove: (event) => this.#move(event),
          pointerleave: () => this.#leave(),
        },
      },
      this.#easel.element,
    );
    this.#replay = h(
      "button",
      { type: "button", class: "small", on: { click: () => character.replay() } },
      icon("play"),
      "Replay",
    );
    this.#live = h(
      "button",
      { type: "button", class: "small", on: { click: () => character.live() } },
      "Back to now",
    );
    this.element = h(
      "section",
      { class: "timeline-box" },
      h(
        "div",
        { class: "timeline-head" },
        h("h3", { id: label }, "Timeline"),
        this.#readout,
        this.#live,
        this.#replay,
      ),
      this.#slider,
    );
    this.#easel.fit(this.#slider, () => this.#repaint());
  }

  /** Something has changed. */
  touch(): void {
    this.#owes = true;
  }

  /** Whether there is something to show that is not shown yet. */
  get isBehind(): boolean {
    return this.#owes || this.#stale;
  }

  /** Shows a moment; whether it must be asked again. */
  draw(now: number): boolean {
    this.#owes = false;
    const moment = this.#character.moment(now);
    const record = moment?.record;
    const again = this.#picture(record, now);
    const held = this.#character.held;
    if (this.#replay.disabled !== !record) this.#replay.disabled = !record;
    const isNow =
      held === undefined && !this.#character.isReplaying && record === this.#character.records.at(-1);
    mark(this.#live, "hidden", isNow ? "" : undefined);
    if (!moment) {
      this.#point(undefined);
      say(this.#readout, "");
      return again;
    }
    const span = this.#drawn?.span ?? 1;
    const t = Math.min(moment.t, span);
    // Behind the end there is nothing to point at.
    const isOver = held === undefined && moment.record.done !== undefined && moment.t > moment.record.endMs;
    this.#point(isOver ? undefined : { t, isHeld: held !== undefined });
    this.#tell(moment.record, t, now);
    return again;
  }

  close(): void {
    this.#easel.close();
  }

  /** Hands on where the finger is, if that is somewhere else. */
  #point(finger: Finger | undefined): void {
    const was = this.#finger;
    if (was?.t === finger?.t && was?.isHeld === finger?.isHeld) return;
    this.#finger = finger;
    this.#easel.point(finger);
  }

  #picture(record: TurnRecord | undefined, now: number): boolean {
    const drawn = this.#drawn;
    const isNew = this.#stale || drawn?.record !== record;
    const isMore = drawn?.version !== (record?.version ?? 0);
    if (!isNew && !isMore) return false;
    if (!isNew && now - this.#drawnAt < REDRAW_MS) return true;
    if (!this.#easel.isSeen) return false;
    const score = scoreOf(record, (this.#easel.width - GUTTER) / SAMPLE);
    this.#easel.show(score);
    this.#drawn = { record, version: record?.version ?? 0, span: score.span };
    this.#drawnAt = now;
    this.#stale = false;
    mark(this.#slider, "aria-valuemax", String(Math.round(record?.endMs ?? 0)));
    return false;
  }

  /** In words: at once for who points at something, now and then for who listens. */
  #tell(record: TurnRecord, t: number, now: number): void {
    const at = this.#pointed ?? (this.#character.held === undefined ? undefined : t);
    say(this.#readout, at === undefined ? "" : spelledMoment(record, at));
    if (this.#character.held === undefined && now - this.#spelledAt < 1000) return;
    this.#spelledAt = now;
    mark(this.#slider, "aria-valuenow", String(Math.round(t)));
    mark(this.#slider, "aria-valuetext", spelledMoment(record, t));
  }

  #tOf(event: PointerEvent): number {
    const box = this.#slider.getBoundingClientRect();
    const share = (event.clientX - box.left - GUTTER) / Math.max(1, box.width - GUTTER);
    return Math.max(0, Math.min(1, share)) * (this.#drawn?.span ?? 1);
  }

  #down(event: PointerEvent): void {
    if (!this.#character.shown || event.button !== 0) return;
    this.#slider.setPointerCapture(event.pointerId);
    this.#character.hold(this.#tOf(event));
  }

  #move(event: PointerEvent): void {
    if (!this.#character.shown) return;
    this.#pointed = this.#tOf(event);
    if (event.buttons === 1) this.#character.hold(this.#pointed);
    this.#owes = true;
    loop.wake();
  }

  #leave(): void {
    this.#pointed = undefined;
    this.#owes = true;
    loop.wake();
  }

  #key(event: KeyboardEvent): void {
    const moment = this.#character.moment(performance.now());
    if (!moment) return;
    const end = moment.record.endMs;
    const step = event.shiftKey ? LEAP_MS : STEP_MS;
    const t = Math.min(moment.t, end);
    switch (event.key) {
      case "ArrowLeft":
      case "ArrowDown":
        this.#character.hold(t - step);
        break;
      case "ArrowRight":
      case "ArrowUp":
        this.#character.hold(Math.min(end, t + step));
        break;
      case "Home":
        this.#character.hold(0);
        break;
      case "End":
        this.#character.hold(end);
        break;
      case " ":
        this.#character.replay();
        break;
      case "Escape":
        if (this.#character.held === undefined && !this.#character.isReplaying) return;
        this.#character.live();
        break;
      default:
        return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #repaint(): void {
    this.#stale = true;
    loop.wake();
  }
}
