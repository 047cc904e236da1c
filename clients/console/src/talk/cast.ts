import { type NpcJoin, type RawFrame, RequestError, TURN_OPS, type TurnEvent } from "npc-gateway-client";
import type { Connection } from "../net/connection.js";
import { TurnRecord } from "../turn/record.js";
import { Signal, State } from "../ui/signal.js";
import { Character, type Waiting } from "./character.js";

/** NPCs side by side. */
export const MAX_CHARACTERS = 8;

const OPS: ReadonlySet<string> = new Set(TURN_OPS);

/** The NPCs on the page, and what the gateway tells of them. */
export class Cast {
  readonly #connection: Connection;
  readonly #characters = new Map<string, Character>();
  readonly selected = new State<Character | undefined>(undefined);
  /** One came or went. */
  readonly changed = new Signal<void>();
  /** A line is over: who said what, for those who hear the page. */
  readonly told = new Signal<string>();
  /** Something that happened with this NPC is stored. */
  readonly stored = new Signal<Character>();

  constructor(connection: Connection) {
    this.#connection = connection;
    connection.frame.on((frame) => this.#frame(frame));
    connection.link.on(({ state }) => {
      if (state === "closed" || state === "idle") this.#clear();
    });
  }

  get all(): Character[] {
    return [...this.#characters.values()];
  }

  /** Brings an NPC onto the page. */
  async join(request: NpcJoin): Promise<Character> {
    const session = this.#connection.session;
    if (!session) throw new Error("There is no session.");
    const known = this.#characters.get(request.npc);
    if (known) {
      this.selected.set(known);
      return known;
    }
    if (this.#characters.size >= MAX_CHARACTERS) {
      throw new Error(`There is room for ${MAX_CHARACTERS} side by side. Close one first.`);
    }
    const npc = await session.join(request);
    const character = new Character(npc);
    this.#characters.set(character.id, character);
    this.changed.emit();
    this.selected.set(character);
    // Its first word comes sooner then; where that is not allowed, it comes all the same.
    npc.focus().catch(() => {});
    return character;
  }

  leave(character: Character): void {
    this.#characters.delete(character.id);
    if (this.selected.value === character) this.selected.set(this.all.at(-1));
    this.changed.emit();
    character.npc.leave().catch(() => {});
  }

  /** Says a line. What it answers comes as frames; here is only what keeps it from answering. */
  say(character: Character, text: string): void {
    const turn = character.npc.say(text, character.options());
    const waiting = { turn, text };
    character.waiting.push(waiting);
    character.touch();
    turn.done.then(
      () => character.heard(waiting),
      (error: unknown) => this.#failed(character, waiting, reasonOf(error)),
    );
  }

  /** Interrupts what the NPC says, where it has got to. */
  async cancel(character: Character): Promise<void> {
    const record = character.records.at(-1);
    if (record?.handle && !record.cancelled && record.failure === undefined) {
      const heardOffset = record.speech.spokenAt(performance.now() - record.startedAt);
      await record.handle.cancel({ heardOffset });
      return;
    }
    await character.waiting[0]?.turn.cancel();
  }

  #clear(): void {
    if (this.#characters.size === 0) return;
    this.#characters.clear();
    this.selected.set(undefined);
    this.changed.emit();
  }

  #failed(character: Character, waiting: Waiting, why: string): void {
    const { turn } = waiting;
    const record = character.find(turn.player, turn.id);
    if (record) {
      record.fail(why);
    } else {
      character.heard(waiting);
      character.refuse(waiting.text, why);
    }
    this.told.emit(`${character.name} does not answer: ${why}`);
    character.touch();
  }

  #frame(frame: RawFrame): void {
    if (!OPS.has(frame.op)) return;
    const event = frame as unknown as TurnEvent;
    const now = performance.now();
    if (event.op === "turn.started") {
      const character = this.#characters.get(event.d.npc);
      if (!character) return;
      character.begin(new TurnRecord(event.d, now, character.shapes, character.pose));
      character.touch();
      return;
    }
    for (const character of this.#characters.values()) {
      const record = character.find(event.d.player, event.d.turn);
      if (record) this.#take(character, record, event, now);
    }
  }

  #take(character: Character, record: TurnRecord, event: TurnEvent, now: number): void {
    record.take(event, now);
    // What an NPC thinks of one player is not what it thinks of another.
    const isMine = record.player === this.#connection.session?.player;
    if (event.op === "social" && isMine) {
      character.relationship = event.d.relationship;
      character.moved = event.d.delta;
    }
    if (event.op === "goal") character.goals = event.d.ranked;
    if (event.op === "turn.done") {
      if (event.d.text !== "") this.told.emit(`${character.name}: ${event.d.text}`);
      if (event.d.interaction !== undefined) this.stored.emit(character);
    }
    character.touch();
  }
}

/** Why something failed, for a person. */
export function reasonOf(error: unknown): string {
  if (error instanceof RequestError) {
    const wait =
      error.retryAfterMs === undefined ? "" : ` Try again in ${Math.ceil(error.retryAfterMs / 1000)} s.`;
    return `${error.payload.message} (${error.code})${wait}`;
  }
  return error instanceof Error ? error.message : String(error);
}
