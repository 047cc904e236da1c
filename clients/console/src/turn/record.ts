import type {
  ActionProposed,
  AdapterUse,
  Emotion,
  Goal,
  Social,
  Turn,
  TurnDone,
  TurnEvent,
  TurnStarted,
  ValidThrough,
} from "npc-gateway-client";
import type { Pose } from "../face/shapes.js";
import { Speech } from "./speech.js";
import { FaceTrack } from "./track.js";

/** Events of each kind that are kept of a turn. */
const MAX_EVENTS = 1024;

/** What an NPC wants to do, and what has become of it. */
export interface Proposal extends ActionProposed {
  retracted: boolean;
  /** What the game said of it. */
  result?: "done" | "failed";
}

/** How a turn stands. */
export type TurnState = "running" | "done" | "failed";

/** One turn as it came: everything on its clock, so that any moment of it can be shown, again and again. */
export class TurnRecord {
  readonly id: string;
  readonly player: string;
  readonly npc: string;
  /** What the player said. */
  readonly said: string;
  /** `performance.now()` at the beginning of its clock. */
  readonly startedAt: number;
  readonly adapters: readonly AdapterUse[];
  readonly generic: boolean;
  readonly started: TurnStarted;
  readonly speech = new Speech();
  readonly face: FaceTrack;
  readonly emotions: Emotion[] = [];
  readonly actions: Proposal[] = [];
  readonly socials: Social[] = [];
  readonly goals: Goal[] = [];
  /** By which it can be cancelled, if it is this player's. */
  handle: Turn | undefined;
  cancelled: ValidThrough | undefined;
  done: TurnDone | undefined;
  /** Why there is no answer. */
  failure: string | undefined;
  /** Counts what came, so that who shows it knows that there is more. */
  version = 0;

  constructor(started: TurnStarted, now: number, shapes: readonly string[], base: Pose) {
    this.started = started;
    this.id = started.turn;
    this.player = started.player;
    this.npc = started.npc;
    this.said = started.text;
    this.adapters = started.adapters;
    this.generic = started.generic;
    this.startedAt = now;
    this.face = new FaceTrack(shapes, base);
  }

  get state(): TurnState {
    if (this.failure !== undefined) return "failed";
    return this.done ? "done" : "running";
  }

  /** The whole answer: what came, or what counts of it. */
  get text(): string {
    return this.done?.text ?? this.speech.valid;
  }

  /** When the last of it has been shown. */
  get endMs(): number {
    const last = Math.max(this.speech.endMs, this.face.endMs);
    const points = [this.emotions, this.actions, this.socials, this.goals];
    return points.reduce((most, list) => Math.max(most, list.at(-1)?.t_ms ?? 0), last);
  }

  /** Takes an event that comes at `now` (`performance.now()`). */
  take(event: TurnEvent, now: number): void {
    this.version += 1;
    const t = now - this.startedAt;
    switch (event.op) {
      case "dialogue.delta":
        this.speech.add(event.d.text, event.d.offset, event.d.t_ms);
        break;
      case "emotion":
        push(this.emotions, event.d);
        break;
      case "face.key":
        this.face.add(event.d, t);
        break;
      case "action.proposed":
        push(this.actions, { ...event.d, retracted: false });
        break;
      case "social":
        push(this.socials, event.d);
        break;
      case "goal":
        push(this.goals, event.d);
        break;
      case "turn.cancelled":
        this.#cancel(event.d.valid_through, event.d.retracted, t);
        break;
      case "turn.done":
        this.#finish(event.d);
        break;
      case "turn.started":
        break;
    }
  }

  fail(why: string): void {
    if (this.done && this.done.reason !== "error") return;
    this.failure = why;
    this.version += 1;
  }

  /** What is felt at a time; nothing before, and after the last of it. */
  emotionAt(t: number): Emotion | undefined {
    if (t > this.endMs && this.done) return undefined;
    if (this.cancelled && t >= this.cancelled.t_ms) return undefined;
    return this.emotions.findLast((felt) => felt.t_ms <= t);
  }

  #cancel(at: ValidThrough, retracted: readonly string[], t: number): void {
    this.cancelled = at;
    this.speech.cut(at.text_offset);
    this.face.cut(at.t_ms, t);
    trim(this.emotions, at);
    trim(this.socials, at);
    trim(this.goals, at);
    for (const action of this.actions) action.retracted ||= retracted.includes(action.action);
  }

  #finish(done: TurnDone): void {
    // An answer that was stored comes without its pieces.
    if (done.text.startsWith(this.speech.text) && !this.cancelled) {
      const rest = done.text.slice(this.speech.text.length);
      if (rest !== "") this.speech.add(rest, this.speech.length, this.speech.endMs);
    }
    this.done = done;
  }
}

function push<Item>(list: Item[], item: Item): void {
  if (list.length < MAX_EVENTS) list.push(item);
}

/** Takes away what lies behind a point. */
function trim(list: { t_ms: number; text_offset: number }[], at: ValidThrough): void {
  for (let last = list.at(-1); last && (last.t_ms > at.t_ms || last.text_offset > at.text_offset); ) {
    list.pop();
    last = list.at(-1);
  }
}
