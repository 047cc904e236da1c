import { UnitBars } from "../face/bars.js";
import { lookOf } from "../face/look.js";
import { neutral } from "../face/shapes.js";
import { noUnits } from "../face/units.js";
import { approach, HeadView } from "../face/view.js";
import { h, mark, say, uid } from "../ui/dom.js";
import { percent } from "../ui/format.js";
import { icon } from "../ui/icons.js";
import { type Animated, loop } from "../ui/loop.js";
import type { Character, Moment } from "./character.js";
import { Composer, type ComposerHost } from "./composer.js";
import { FeelingView } from "./feeling.js";
import { Glow } from "./glow.js";
import type { LineHost } from "./line.js";
import { Timeline } from "./timeline.js";
import { Transcript } from "./transcript.js";

export interface StageHost extends LineHost, ComposerHost {
  select(): void;
  leave(): void;
}

/** Action units are spelled out for who listens at most so often. */
const SPELL_MS = 1000;
/** Faces are drawn in every other frame, those that stand side by side in turns. */
const FACE_EVERY = 2;
/** Text changes in every sixth frame, also in turns. */
const TEXT_EVERY = 6;

/** How many there have been. */
let made = 0;

/** One NPC on the page: its face, what it feels and says, and its time. */
export class Stage implements Animated {
  readonly element: HTMLElement;
  readonly character: Character;
  readonly #head: HeadView;
  readonly #units = new UnitBars();
  readonly #feeling = new FeelingView();
  readonly #glow = new Glow();
  readonly #timeline: Timeline;
  readonly #transcript: Transcript;
  readonly #composer: Composer;
  readonly #clock = h("span", { class: "clock" });
  readonly #target = neutral();
  readonly #weights = noUnits();
  readonly #off: (() => void)[] = [];
  readonly #phase: number;
  /** Text has changed that is not on the page yet. */
  #owes = true;
  /** It was its turn to be drawn, and other things took the frame's time. */
  #isFaceLate = false;
  #isTextLate = false;
  #before = 0;
  #spelledAt = 0;
  #isQuiet = false;

  constructor(character: Character, host: StageHost) {
    this.character = character;
    this.#phase = made;
    made += 1;
    const { name, archetype } = character;
    const body = character.npc.info.npc.body as { marks?: string[] } | undefined;
    this.#head = new HeadView(lookOf(archetype, body?.marks ?? []), `Face of ${name}: neutral`);
    this.#timeline = new Timeline(character);
    this.#composer = new Composer(character, host);
    this.#transcript = new Transcript(character, host, this.#composer.openings);
    const title = uid("npc");
    this.element = h(
      "article",
      {
        class: "stage",
        "aria-labelledby": title,
        "data-npc": character.id,
        "data-feeling": "neutral",
        on: { focusin: () => host.select(), pointerdown: () => host.select() },
      },
      h(
        "div",
        { class: "stage-in" },
        h(
          "header",
          {},
          h("h2", { id: title }, name),
          h("span", { class: "tag" }, archetype),
          h("span", { class: "id", title: "The NPC's id" }, character.id),
          h("div", { class: "clock-box" }, this.#clock),
          h(
            "button",
            {
              type: "button",
              class: "bare",
              "aria-label": `Leave ${name}`,
              title: "Leave",
              on: { click: () => host.leave() },
            },
            icon("close"),
          ),
        ),
        h("div", { class: "portrait" }, ...this.#glow.lights, this.#head.element, this.#feeling.element),
        this.#units.element,
        h("div", { class: "words" }, this.#transcript.element),
        this.#timeline.element,
        this.#composer.element,
      ),
    );
    this.#off.push(
      character.changed.on(() => {
        this.#transcript.touch();
        this.#timeline.touch();
        this.#owes = true;
        loop.wake();
      }),
      loop.add(this),
    );
  }

  focus(): void {
    this.#composer.focus();
  }

  frame(now: number, index: number): boolean {
    const { character } = this;
    const moment = character.moment(now);
    const passed = Math.min(100, now - this.#before);
    this.#before = now;
    if (moment) {
      moment.record.face.poseAt(moment.t, this.#target);
      moment.record.face.unitsAt(moment.t, this.#weights);
    } else {
      this.#target.fill(0);
      this.#weights.fill(0);
    }
    const isMoving = approach(character.pose, this.#target, passed);
    let wantsMore = false;
    this.#isFaceLate ||= (index + this.#phase) % FACE_EVERY === 0;
    if (this.#isFaceLate && !loop.isFull) {
      this.#isFaceLate = false;
      this.#head.draw(character.pose, now);
      this.#units.draw(this.#weights);
      wantsMore = this.#timeline.draw(now);
    } else {
      wantsMore =
        this.#head.isBehind(character.pose) || this.#units.isBehind(this.#weights) || this.#timeline.isBehind;
    }
    const isBusy = character.isBusy(now);
    this.#isTextLate ||= (index + 2 * this.#phase + 1) % TEXT_EVERY === 0;
    if (this.#isTextLate && !loop.isFull) {
      this.#isTextLate = false;
      this.#owes = false;
      this.#tell(moment, isBusy, now);
    }
    const isLate = this.#isFaceLate || this.#isTextLate;
    return isMoving || wantsMore || isLate || this.#owes || this.#plays(moment, isBusy);
  }

  close(): void {
    for (const off of this.#off) off();
    this.#head.close();
    this.#units.close();
    this.#feeling.close();
    this.#glow.close();
    this.#timeline.close();
  }

  /** Whether time goes on for what is shown, and for a moment after, in which all is said of its end. */
  #plays(
    moment: { record: { endMs: number; state: string }; t: number } | undefined,
    isBusy: boolean,
  ): boolean {
    const goesOn =
      moment !== undefined &&
      this.character.held === undefined &&
      (moment.record.state === "running" || moment.t < moment.record.endMs + SPELL_MS + 100);
    if (goesOn || (isBusy && this.character.waiting.length === 0)) {
      this.#isQuiet = false;
      return true;
    }
    const last = !this.#isQuiet;
    this.#isQuiet = true;
    return last;
  }

  /** Everything that is text. */
  #tell(moment: Moment | undefined, isBusy: boolean, now: number): void {
    const { character } = this;
    const felt = moment?.record.emotionAt(moment.t);
    if (this.#feeling.show(felt)) {
      const what = felt ? `${felt.label}, ${percent(felt.intensity)}` : "neutral";
      this.#head.label = `Face of ${character.name}: ${what}`;
      mark(this.element, "data-feeling", felt?.label ?? "neutral");
      this.#glow.show(felt);
    }
    if (now - this.#spelledAt > SPELL_MS) {
      this.#spelledAt = now;
      this.#units.spell(this.#weights);
    }
    this.#transcript.draw(now);
    this.#composer.draw(isBusy, character.records.length === 0 && character.waiting.length === 0);
    const end = moment?.record.endMs ?? 0;
    const shown = moment && (isBusy || character.held !== undefined || character.isReplaying);
    say(
      this.#clock,
      shown ? `${(Math.min(moment.t, end) / 1000).toFixed(1)} / ${(end / 1000).toFixed(1)} s` : "",
    );
  }
}
