import type {
  ActionResult,
  EventRecorded,
  NpcAct,
  NpcActed,
  NpcEvent,
  NpcJoin,
  NpcJoined,
  NpcWarm,
  Say,
} from "./generated.js";
import type { Turn } from "./turn.js";

/** What goes with a line besides its text. Keys are those of the protocol's `say`. */
export type SayOptions = Omit<Say, "npc" | "turn" | "text"> & {
  /** The turn's id, 1 to 64 characters; the server runs each one once. Default: a random one. */
  turn?: string;
};

/** What happens to an NPC. */
export type EventOptions = Omit<NpcEvent, "npc" | "event"> & {
  /** The event's id, 1 to 64 characters; the server records each one once. Default: a random one. */
  event?: string;
};

/** What an NPC is to decide on its own. */
export type ActOptions = Omit<NpcAct, "npc" | "act"> & {
  /** The act's id, 1 to 64 characters; the server answers each one once. Default: a random one. */
  act?: string;
};

/** What an NPC asks of its session. @internal */
export interface NpcHost {
  say(npc: Npc, text: string, options: SayOptions): Turn;
  focus(npc: Npc): Promise<NpcWarm>;
  leave(npc: Npc): Promise<void>;
  event(npc: Npc, options: EventOptions): Promise<EventRecorded>;
  act(npc: Npc, options: ActOptions): Promise<NpcActed>;
  result(result: ActionResult): Promise<EventRecorded>;
}

/** An NPC that the session has joined. It stays joined when the session has to be replaced by a new one. */
export class Npc {
  readonly #host: NpcHost;
  #info: NpcJoined;
  /** @internal How it was joined, to join it again. */
  request: NpcJoin;

  /** @internal */
  constructor(host: NpcHost, request: NpcJoin, info: NpcJoined) {
    this.#host = host;
    this.request = request;
    this.#info = info;
  }

  get id(): string {
    return this.request.npc;
  }

  /** What the server said of it when it was last joined. */
  get info(): NpcJoined {
    return this.#info;
  }

  /** @internal */
  update(info: NpcJoined): void {
    this.#info = info;
  }

  /** Says a line to the NPC. What it answers, and what becomes of it, is in the turn. */
  say(text: string, options: SayOptions = {}): Turn {
    return this.#host.say(this, text, options);
  }

  /** The player comes near: the server prepares the NPC's prompt, so that its first word comes sooner. */
  focus(): Promise<NpcWarm> {
    return this.#host.focus(this);
  }

  leave(): Promise<void> {
    return this.#host.leave(this);
  }

  /** Tells the NPC of something that happened to it. */
  event(options: EventOptions): Promise<EventRecorded> {
    return this.#host.event(this, options);
  }

  /** Asks what the NPC does on its own. */
  act(options: ActOptions): Promise<NpcActed> {
    return this.#host.act(this, options);
  }

  /** Says whether the game did what the NPC proposed in a turn. */
  actionResult(result: ActionResult): Promise<EventRecorded> {
    return this.#host.result(result);
  }
}
