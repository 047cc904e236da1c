import type { Action, AdapterUse, Npc, RankedGoal, Relationship, SayOptions, Turn } from "npc-gateway-client";
import { neutral, type Pose, SHAPES } from "../face/shapes.js";
import type { TurnRecord } from "../turn/record.js";
import { loop } from "../ui/loop.js";
import { Signal } from "../ui/signal.js";

/** Turns of one NPC that can be looked at again. */
export const MAX_TURNS = 40;

/** What is done on the page with one line before the gateway has begun to answer it. */
export interface Waiting {
  turn: Turn;
  text: string;
}

/** What a line is said with, besides its words. */
export interface Scene {
  context: string;
  actions: Action[];
  audience: string[];
  maxTokens: number | undefined;
  temperature: number | undefined;
  seed: number | undefined;
  greedy: boolean;
}

/** What an NPC may do, unless somebody writes something else. */
const ACTIONS: readonly Action[] = [
  { name: "bow", description: "bows politely" },
  { name: "smile", description: "smiles at the visitor" },
  { name: "step_closer", description: "comes a step closer" },
  { name: "step_back", description: "steps back, away from the visitor" },
  { name: "threaten", description: "threatens the visitor" },
  { name: "attack", description: "attacks the visitor" },
];

/** Which moment of which turn is shown. */
export interface Moment {
  record: TurnRecord;
  /** On the turn's clock, in milliseconds. */
  t: number;
}

/** An NPC that is on the page, and all that is known of it. */
export class Character {
  readonly npc: Npc;
  /** The newest last. */
  readonly records: TurnRecord[] = [];
  readonly waiting: Waiting[] = [];
  /** The face as it is on the screen. */
  readonly pose: Pose = neutral();
  /** Task → weight that is asked for, where it is not the pack's. */
  readonly mix = new Map<string, number>();
  /** The adapters of the last line that was said with no wishes: the pack's own mix. */
  usual: readonly AdapterUse[] | undefined;
  /** Those of the last line. */
  used: readonly AdapterUse[] | undefined;
  relationship: Relationship | undefined;
  /** How the relationship moved last. */
  moved: { [axis: string]: number } = {};
  goals: readonly RankedGoal[] | undefined;
  readonly scene: Scene = {
    context: "",
    actions: ACTIONS.map((action) => ({ ...action })),
    audience: [],
    maxTokens: undefined,
    temperature: undefined,
    seed: undefined,
    greedy: false,
  };
  /** Something of it has changed. */
  readonly changed = new Signal<void>();

  /** Lines that were not answered, and why; the oldest go. */
  readonly refused: { text: string; why: string; after: TurnRecord | undefined }[] = [];

  /** The turn that is looked at, if it is not the newest one. */
  #chosen: TurnRecord | undefined;
  /** A moment that somebody holds on to. */
  #held: number | undefined;
  /** When a turn began to be played again. */
  #replayed: number | undefined;

  constructor(npc: Npc) {
    this.npc = npc;
    this.relationship = npc.info.relationship;
  }

  get id(): string {
    return this.npc.id;
  }

  get name(): string {
    return this.npc.info.npc.name;
  }

  get archetype(): string {
    return this.npc.info.npc.archetype;
  }

  get shapes(): readonly string[] {
    return this.npc.info.face?.shapes ?? SHAPES;
  }

  /** Tasks that have an adapter, in the order that the gateway tells. */
  get tasks(): string[] {
    return Object.keys(this.npc.info.chain.tasks);
  }

  /** The turn that is shown. */
  get shown(): TurnRecord | undefined {
    return this.#chosen ?? this.records.at(-1);
  }

  get isReplaying(): boolean {
    return this.#replayed !== undefined;
  }

  get held(): number | undefined {
    return this.#held;
  }

  /** What is to be seen at `now`. */
  moment(now: number): Moment | undefined {
    const record = this.shown;
    if (!record) return undefined;
    if (this.#held !== undefined) return { record, t: this.#held };
    const t = Math.max(0, now - (this.#replayed ?? record.startedAt));
    if (this.#replayed !== undefined && t > record.endMs) this.live();
    return { record, t };
  }

  /** Whether something is being said, or still to be heard. */
  isBusy(now: number): boolean {
    if (this.waiting.length > 0) return true;
    const record = this.records.at(-1);
    if (!record || record.failure !== undefined || record.cancelled) return record?.state === "running";
    return record.state === "running" || now - record.startedAt < record.endMs;
  }

  /** Takes up a turn that has begun; the oldest one that is kept goes. */
  begin(record: TurnRecord): void {
    // In a new session the same line begins anew.
    const before = this.find(record.player, record.id);
    if (before) this.records.splice(this.records.indexOf(before), 1);
    record.handle = before?.handle;
    this.records.push(record);
    if (this.records.length > MAX_TURNS) this.records.shift();
    const waiting = this.waiting.find(({ turn }) => turn.id === record.id && turn.player === record.player);
    if (waiting) {
      record.handle = waiting.turn;
      this.heard(waiting);
    }
    if (record.adapters.length > 0) {
      this.used = record.adapters;
      if (this.mix.size === 0) this.usual = record.adapters;
    }
    this.#chosen = undefined;
    this.live();
  }

  find(player: string, turn: string): TurnRecord | undefined {
    return this.records.findLast((record) => record.id === turn && record.player === player);
  }

  /** The gateway has taken the line, or wants none of it. */
  heard(waiting: Waiting): void {
    const place = this.waiting.indexOf(waiting);
    if (place >= 0) this.waiting.splice(place, 1);
  }

  /** Notes a line that was refused before there was a turn. */
  refuse(text: string, why: string): void {
    this.refused.push({ text, why, after: this.records.at(-1) });
    if (this.refused.length > MAX_TURNS) this.refused.shift();
  }

  /** Tells everybody that there is something new. */
  touch(): void {
    this.changed.emit();
    loop.wake();
  }

  /** Shows this turn. */
  choose(record: TurnRecord): void {
    this.#chosen = record === this.records.at(-1) ? undefined : record;
    this.live();
  }

  /** Holds a moment of the turn that is shown. */
  hold(t: number): void {
    this.#held = Math.max(0, t);
    this.#replayed = undefined;
    this.touch();
  }

  /** Lets go of it: the turn's own clock again. */
  live(): void {
    this.#held = undefined;
    this.#replayed = undefined;
    this.touch();
  }

  /** Plays the turn that is shown from its beginning. */
  replay(): void {
    this.#held = undefined;
    this.#replayed = performance.now();
    this.touch();
  }

  /** What goes with the next line. */
  options(): SayOptions {
    const { context, actions, audience, maxTokens, temperature, seed, greedy } = this.scene;
    const generation = {
      ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
      ...(temperature === undefined ? {} : { temperature }),
      ...(seed === undefined ? {} : { seed }),
      ...(greedy ? { greedy } : {}),
    };
    return {
      ...(actions.length === 0 ? {} : { actions }),
      ...(context === "" ? {} : { context }),
      ...(audience.length === 0 ? {} : { audience }),
      ...(Object.keys(generation).length === 0 ? {} : { generation }),
      ...(this.mix.size === 0 ? {} : { mix: Object.fromEntries(this.mix) }),
    };
  }
}
