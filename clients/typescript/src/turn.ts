import { presented } from "./clock.js";
import { type NpcGatewayError, ProtocolError, RequestError, TurnLostError, UsageError } from "./errors.js";
import { scalars, type TurnEvent, type TurnOp } from "./frames.js";
import type {
  DialogueDelta,
  ErrorPayload,
  Say,
  ServerPayloads,
  TurnCancelled,
  TurnDone,
  TurnStarted,
} from "./generated.js";
import { MAX_TURN_EVENTS, MAX_TURN_SIZE } from "./limits.js";

/** What a turn asks of its session. @internal */
export interface TurnHost {
  cancel(turn: Turn, heardOffset: number | undefined): Promise<TurnCancelled>;
  playback(turn: Turn, heardOffset: number): void;
}

/**
 * One line of a player and what the NPC answers. Iterate over it for the pieces of the line as they are generated:
 *
 * ```ts
 * for await (const delta of turn) show(delta.text);
 * const { reason, text } = await turn.done;
 * ```
 *
 * Several loops may run over the same turn, each from its beginning.
 */
export class Turn implements AsyncIterable<DialogueDelta> {
  /** Its id, which the client chose. */
  readonly id: string;
  /** Who speaks to the NPC; turns of other players come to those who are in their audience. */
  readonly player: string;
  readonly npc: string;
  /** Settles when the NPC begins to answer. */
  readonly started: Promise<TurnStarted>;
  /**
   * Settles with the end of the turn. It rejects with a `RequestError` if the line was refused or failed, and with
   * a `TurnLostError` if it cannot be finished.
   */
  readonly done: Promise<TurnDone>;

  readonly #host: TurnHost | undefined;
  readonly #events: TurnEvent[] = [];
  #change: { promise: Promise<void>; resolve(): void } | undefined;
  #settleStarted!: { resolve(started: TurnStarted): void; reject(error: Error): void };
  #settleDone!: { resolve(done: TurnDone): void; reject(error: Error): void };
  #text = "";
  #offset = 0;
  #size = 0;
  #startedAt: number | undefined;
  #hasStarted = false;
  #error: ErrorPayload | undefined;
  #failure: NpcGatewayError | undefined;
  #end: TurnDone | undefined;
  /** @internal The frame that asked for it, if this client did. */
  readonly request: { cid: number; d: Say } | undefined;
  /** @internal */
  cancelAsked = false;
  /** @internal What the game said the player has heard. */
  heard: number | undefined;
  /** @internal When it ended. */
  endedAt: number | undefined;
  /** @internal The session that its line was first sent in. */
  home: string | undefined;
  /** @internal How often its line was sent. */
  sends = 0;

  /** @internal */
  constructor(
    names: { id: string; player: string; npc: string },
    host?: TurnHost,
    request?: { cid: number; d: Say },
  ) {
    this.id = names.id;
    this.player = names.player;
    this.npc = names.npc;
    this.#host = host;
    this.request = request;
    this.started = new Promise((resolve, reject) => {
      this.#settleStarted = { resolve, reject };
    });
    this.done = new Promise((resolve, reject) => {
      this.#settleDone = { resolve, reject };
    });
    // Whoever does not look at them is not to be told of an unhandled rejection.
    this.started.catch(() => {});
    this.done.catch(() => {});
  }

  /** What has arrived of the line. */
  get text(): string {
    return this.#text;
  }

  /** Whether it has ended, well or not. */
  get ended(): boolean {
    return this.#end !== undefined || this.#failure !== undefined;
  }

  /** Milliseconds on the turn's clock, from `turn.started` on; `undefined` before. */
  get clockMs(): number | undefined {
    return this.#startedAt === undefined ? undefined : performance.now() - this.#startedAt;
  }

  /** How much of the text is due by the turn's clock, in characters: a good value for `heardOffset`. */
  get dueOffset(): number {
    const now = this.clockMs ?? -1;
    let offset = 0;
    for (const { op, d } of this.#events) {
      if (op === "dialogue.delta" && d.t_ms <= now) offset = d.offset + scalars(d.text);
    }
    return offset;
  }

  /** The pieces of the line, as they arrive. */
  async *[Symbol.asyncIterator](): AsyncGenerator<DialogueDelta, void, undefined> {
    for await (const { op, d } of this.events()) {
      if (op === "dialogue.delta") yield d;
    }
  }

  /** Everything that happens in the turn, as it arrives, `turn.done` last. Throws what `done` rejects with. */
  async *events(): AsyncGenerator<TurnEvent, void, undefined> {
    for (let index = 0; ; ) {
      const event = this.#events[index];
      if (event) {
        index += 1;
        yield event;
      } else if (this.#failure) {
        throw this.#failure;
      } else if (this.#end) {
        return;
      } else {
        await this.changed();
      }
    }
  }

  /** Everything that happens in the turn, each thing when its `t_ms` is due. What a cancel took back never comes. */
  presented(): AsyncGenerator<TurnEvent, void, undefined> {
    return presented(this);
  }

  /** The first event of this kind, or nothing if the turn ends without one. */
  async first<Op extends TurnOp>(op: Op): Promise<ServerPayloads[Op] | undefined> {
    for await (const event of this.events()) {
      if (event.op === op) return event.d as ServerPayloads[Op];
    }
    return undefined;
  }

  /**
   * Interrupts the NPC. `heardOffset` says how many characters of the line the player heard; without it all that was
   * sent counts as heard. Works until two minutes after the turn's end.
   */
  cancel(options: { heardOffset?: number } = {}): Promise<TurnCancelled> {
    return this.#own("cancelled").cancel(this, options.heardOffset);
  }

  /** Says how many characters of the line the player has heard so far. Less than before is passed over. */
  playback(heardOffset: number): void {
    const host = this.#own("played");
    if (this.heard !== undefined && heardOffset <= this.heard) return;
    this.heard = heardOffset;
    host.playback(this, heardOffset);
  }

  #own(what: string): TurnHost {
    if (!this.#host) throw new UsageError(`the turn of another player cannot be ${what}`);
    return this.#host;
  }

  /** @internal Whether the server said that it runs. */
  get hasStarted(): boolean {
    return this.#hasStarted;
  }

  /** @internal Events from `index` on. */
  eventsFrom(index: number): readonly TurnEvent[] {
    return this.#events.slice(index);
  }

  /** @internal Settles at the next event or at the end. */
  changed(): Promise<void> {
    if (!this.#change) {
      let resolve = () => {};
      const promise = new Promise<void>((settle) => {
        resolve = settle;
      });
      this.#change = { promise, resolve };
    }
    return this.#change.promise;
  }

  /** @internal Throws what the turn failed with. */
  throwIfFailed(): void {
    if (this.#failure) throw this.#failure;
  }

  /** @internal An `error` that names the turn; its `turn.done` follows if it had started. */
  fault(payload: ErrorPayload): void {
    if (this.#hasStarted) this.#error = payload;
    else this.fail(new RequestError(payload));
  }

  /** @internal The session is gone: what runs must be started again. */
  restart(): void {
    this.#hasStarted = false;
  }

  /** @internal */
  fail(error: NpcGatewayError): void {
    if (this.ended) return;
    this.#failure = error;
    this.endedAt = performance.now();
    this.#settleStarted.reject(error);
    this.#settleDone.reject(error);
    this.#notify();
  }

  /** @internal Takes a frame of the turn, and how large it was. */
  take(event: TurnEvent, size: number): void {
    if (this.ended) return;
    this.#size += size;
    if (this.#size > MAX_TURN_SIZE || this.#events.length >= MAX_TURN_EVENTS) {
      this.fail(new ProtocolError(`turn ${this.id} has no end: ${this.#events.length} events`));
      return;
    }
    switch (event.op) {
      case "turn.started":
        this.#start(event.d);
        break;
      case "dialogue.delta":
        this.#extend(event.d);
        break;
      case "turn.done":
        this.#finish(event.d);
        return;
    }
    if (!this.ended) this.#push(event);
  }

  #start(started: TurnStarted): void {
    this.#hasStarted = true;
    if (this.#text !== "") {
      this.fail(new TurnLostError(this.id, this.#text, "the server began it anew after a part of it had come"));
      return;
    }
    this.#startedAt = performance.now();
    this.#settleStarted.resolve(started);
  }

  #extend(delta: DialogueDelta): void {
    if (delta.offset !== this.#offset) {
      const why = `a delta at offset ${delta.offset} after ${this.#offset} characters`;
      this.fail(new ProtocolError(`turn ${this.id}: ${why}`));
      return;
    }
    this.#text += delta.text;
    this.#offset += scalars(delta.text);
  }

  #finish(done: TurnDone): void {
    if (done.reason === "error") {
      const payload = this.#error ?? { code: "engine_failed", message: "the turn failed", temporary: false };
      this.fail(new RequestError({ ...payload, turn: this.id } as ErrorPayload, done));
      return;
    }
    if (done.text !== this.#text && done.text.startsWith(this.#text)) {
      // An answer that the server had stored: it comes without the deltas.
      this.#tail(done);
    } else if (done.text !== this.#text && (done.reason === "stop" || done.reason === "length")) {
      const why = "its end has another text than what had come of it";
      this.fail(new TurnLostError(this.id, this.#text, why));
      return;
    }
    this.#end = done;
    this.endedAt = performance.now();
    // The stored end of a turn comes without its beginning.
    this.#settleStarted.reject(new TurnLostError(this.id, this.#text, "its beginning was not sent again"));
    this.#settleDone.resolve(done);
    this.#push({ op: "turn.done", d: done });
  }

  #tail(done: TurnDone): void {
    const text = done.text.slice(this.#text.length);
    const t_ms = this.#events.reduce((last, { op, d }) => (op === "dialogue.delta" ? d.t_ms : last), 0);
    const delta = { turn: this.id, player: this.player, text, offset: this.#offset, t_ms, tokens: 0 };
    this.#startedAt ??= performance.now();
    this.#extend(delta);
    this.#push({ op: "dialogue.delta", d: delta });
  }

  #push(event: TurnEvent): void {
    this.#events.push(event);
    this.#notify();
  }

  #notify(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }
}
