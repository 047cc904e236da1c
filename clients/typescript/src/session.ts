import type { Encoding } from "./codec.js";
import type { Credentials } from "./credentials.js";
import { Emitter } from "./emitter.js";
import { NpcGatewayError, ProtocolError, RequestError, SessionClosedError } from "./errors.js";
import type { ClientOp, RawFrame, ServerOp } from "./frames.js";
import type { ClientPayloads, ErrorPayload, Hello, NpcJoin, Ready, ServerPayloads } from "./generated.js";
import type { Up } from "./handshake.js";
import { type ActOptions, type EventOptions, Npc, type NpcHost, type SayOptions } from "./npc.js";
import { Requests } from "./requests.js";
import { type StateChange, Transport, type TransportOptions } from "./transport.js";
import type { Turn } from "./turn.js";
import { Turns } from "./turns.js";

/** Everything that a session tells: the payload of each frame by its `op`, and what becomes of the session itself. */
export interface SessionEvents extends ServerPayloads {
  /** Any frame of the server, those too that this client does not know. */
  frame: RawFrame;
  /** The socket was lost, the session is back, or it is over. */
  state: StateChange;
  /**
   * The session could not be resumed, and there is a new one in its place. NPCs are joined again and lines that had
   * no end are said again, under their ids, before this is told.
   */
  reset: { reason: string };
  /** Another player's turn that this one hears. */
  turn: Turn;
  /** Something went wrong that the session lived through. */
  problem: NpcGatewayError;
}

/** A session with the gateway, on as many sockets as it takes. */
export class Session extends Emitter<SessionEvents> {
  /** Settles when the session is over: with the reason, or with nothing after `close()`. Never rejects. */
  readonly closed: Promise<NpcGatewayError | undefined>;
  readonly encoding: Encoding;

  readonly #transport: Transport;
  readonly #credentials: Credentials;
  readonly #requests: Requests;
  readonly #turns: Turns;
  readonly #npcs = new Map<string, Npc>();
  readonly #npcHost: NpcHost;
  #state: "connecting" | StateChange["state"] = "connecting";
  /** Counts the sockets on which the session came up. */
  #life = 0;
  /** The new session has not joined its NPCs yet. */
  #rejoining: string | undefined;
  #over: NpcGatewayError | undefined;

  /** @internal */
  constructor(options: TransportOptions, encoding: Encoding) {
    super();
    this.encoding = encoding;
    this.#credentials = options.credentials;
    this.#transport = new Transport(options, {
      frame: (frame, size) => this.#frame(frame, size),
      up: (how) => void this.#up(how),
      renew: () => void this.renew().catch((error) => this.#problem(error)),
      state: (change) => this.#changed(change),
      problem: (error) => this.#problem(error),
    });
    this.#requests = new Requests(options.codec, (frame) => this.#transport.send(frame));
    this.#turns = new Turns({
      send: (frame) => {
        if (this.#now) this.#transport.send(frame);
      },
      nextCid: () => this.#requests.nextCid(),
      session: () => this.ready.session,
      cancel: (turn, heardOffset) => {
        turn.cancelAsked = true;
        const d = { turn: turn.id, ...(heardOffset === undefined ? {} : { heard_offset: heardOffset }) };
        return this.#ask("cancel", d, "turn.cancelled");
      },
      playback: (turn, heardOffset) => {
        const d = { turn: turn.id, heard_offset: heardOffset };
        if (this.#now) this.#transport.send({ op: "playback", cid: this.#requests.nextCid(), d });
      },
    });
    this.#npcHost = {
      say: (npc, text, say) => this.#say(npc, text, say),
      focus: (npc) => this.#ask("npc.focus", { npc: npc.id }, "npc.warm"),
      leave: (npc) => this.#leave(npc),
      event: (npc, event) => this.#event(npc, event),
      act: (npc, act) => this.#act(npc, act),
      result: (result) => this.#ask("action.result", result, "event.recorded"),
    };
    this.closed = this.#transport.run().then(
      (error) => this.#end(error),
      (fault) => this.#end(new NpcGatewayError(`a fault of the client: ${String(fault)}`, { cause: fault })),
    );
  }

  get state(): "connecting" | StateChange["state"] {
    return this.#state;
  }

  /** What the server said of itself on the newest socket. */
  get hello(): Hello {
    return this.#transport.hello ?? fail();
  }

  /** What the server said of the session when it began. */
  get ready(): Ready {
    return this.#transport.ready ?? fail();
  }

  /** The player, as the server reads the token. */
  get player(): string {
    return this.ready.player;
  }

  /** The last `s` received, which the heartbeats acknowledge. */
  get seq(): number {
    return this.#transport.seq;
  }

  /** The NPCs that the session has joined, by id. */
  get npcs(): ReadonlyMap<string, Npc> {
    return this.#npcs;
  }

  /** Joins an NPC; `archetype` is needed when it is new to the server. */
  async join(request: NpcJoin): Promise<Npc> {
    const info = await this.#ask("npc.join", request, "npc.joined");
    const known = this.#npcs.get(request.npc);
    if (known) {
      known.request = request;
      known.update(info);
      return known;
    }
    const npc = new Npc(this.#npcHost, request, info);
    this.#npcs.set(npc.id, npc);
    return npc;
  }

  /** Shows the server a new token: the given one, or what the token source gives. It does so by itself in time. */
  async renew(token?: string): Promise<void> {
    const shown = token ?? (await this.#credentials.get("renew"));
    try {
      await this.#ask("auth", { token: shown }, "authed", true);
    } finally {
      if (this.#transport.up)
        this.#credentials.schedule(() => void this.renew().catch((e) => this.#problem(e)));
    }
  }

  /** Ends the wait before the next attempt to come back; of use when the game knows that the network is there. */
  reconnectNow(): void {
    this.#transport.reconnectNow();
  }

  /** Ends the session. What is unanswered rejects with a `SessionClosedError`. */
  close(): void {
    this.#transport.close();
  }

  /** Whether frames go out at once. */
  get #now(): boolean {
    return this.#transport.up && this.#rejoining === undefined;
  }

  #ask<Op extends ClientOp, Reply extends ServerOp>(
    op: Op,
    d: ClientPayloads[Op],
    reply: Reply,
    once = false,
  ): Promise<ServerPayloads[Reply]> {
    if (this.#over) return Promise.reject(this.#over);
    return this.#requests.ask(op, d, reply, { now: this.#now, once });
  }

  #say(npc: Npc, text: string, options: SayOptions): Turn {
    if (this.#over) throw this.#over;
    const { turn: id = randomId(), ...rest } = options;
    const d = { npc: npc.id, turn: id, text, ...rest };
    this.#requests.check({ op: "say", cid: Number.MAX_SAFE_INTEGER, d });
    const turn = this.#turns.open(this.player, d);
    if (this.#now) this.#turns.say(turn);
    return turn;
  }

  async #leave(npc: Npc): Promise<void> {
    const { session } = this.ready;
    this.#npcs.delete(npc.id);
    try {
      await this.#ask("npc.leave", { npc: npc.id }, "npc.left");
    } catch (error) {
      // A new session has not joined it in the first place.
      const gone = error instanceof RequestError && error.code === "unknown_npc";
      if (!gone || session === this.ready.session) throw error;
    }
  }

  #event(npc: Npc, { event = randomId(), ...rest }: EventOptions) {
    return this.#ask("event", { npc: npc.id, event, ...rest }, "event.recorded");
  }

  #act(npc: Npc, { act = randomId(), ...rest }: ActOptions) {
    return this.#ask("npc.act", { npc: npc.id, act, ...rest }, "npc.acted");
  }

  #frame(frame: RawFrame, size: number): void {
    const answered = this.#requests.take(frame);
    if (frame.op === "error") {
      if (!answered) this.#turns.fault(frame.cid, frame.d as unknown as ErrorPayload);
    } else {
      const theirs = this.#turns.take(frame, size);
      if (theirs) this.emit("turn", theirs);
    }
    if (frame.op === "hello") this.#requests.maxBytes = this.hello.max_frame_bytes;
    this.emit("frame", frame);
    // What the server sends under a name of the protocol is what the protocol says of it.
    this.emit(frame.op as ServerOp, frame.d as never);
  }

  /** The session is on a new socket: says again what may not have arrived. */
  async #up(how: Up): Promise<void> {
    this.#life += 1;
    const life = this.#life;
    const superseded = new NpcGatewayError("the socket was lost before the answer came");
    this.#requests.dropOnce(superseded);
    if (how.auth !== undefined) void this.#show(how.auth);
    if (how.lost !== undefined) this.#rejoining = how.lost;
    const lost = this.#rejoining;
    if (lost !== undefined) {
      await this.#rejoin();
      if (life !== this.#life || !this.#transport.up) return;
      this.#rejoining = undefined;
    }
    this.#requests.flush((op) => op === "npc.join");
    if (lost === undefined) this.#turns.resumed();
    else this.#turns.restarted(lost);
    this.#requests.flush((op) => op !== "npc.join" && op !== "auth");
    if (lost !== undefined) this.emit("reset", { reason: lost });
  }

  /** Joins the NPCs in a new session. */
  async #rejoin(): Promise<void> {
    const joins = [...this.#npcs.values()].map(async (npc) => {
      const how = { now: true, once: true };
      try {
        npc.update(await this.#requests.ask("npc.join", npc.request, "npc.joined", how));
      } catch (error) {
        if (error instanceof RequestError) this.#problem(error);
      }
    });
    await Promise.all(joins);
  }

  /** Shows the token that takes the place of a refused one. */
  async #show(token: string): Promise<void> {
    try {
      await this.#requests.ask("auth", { token }, "authed", { now: true, once: true });
    } catch (error) {
      this.#problem(error);
    }
  }

  #changed(change: StateChange): void {
    this.#state = change.state;
    this.emit("state", change);
  }

  #problem(error: unknown): void {
    if (this.#over) return;
    this.emit(
      "problem",
      error instanceof NpcGatewayError ? error : new NpcGatewayError(String(error), { cause: error }),
    );
  }

  #end(error: NpcGatewayError | undefined): NpcGatewayError | undefined {
    this.#over = new SessionClosedError(error ? { cause: error } : undefined);
    this.#requests.fail(this.#over);
    this.#turns.fail(error ?? this.#over);
    this.#changed({ state: "closed", ...(error ? { error } : {}) });
    return error;
  }
}

function fail(): never {
  throw new ProtocolError("the session is not ready");
}

/** 128 random bits; `crypto.randomUUID` is not there on pages without TLS. */
function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
