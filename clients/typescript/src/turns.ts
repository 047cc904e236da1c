import { TurnLostError, UsageError } from "./errors.js";
import { type ClientFrame, isTurnEvent, type RawFrame } from "./frames.js";
import type { ErrorPayload, Say } from "./generated.js";
import { MAX_REMEMBERED, MAX_RUNNING, REMEMBERED_MS } from "./limits.js";
import { Turn, type TurnHost } from "./turn.js";

/** Between two looks at a turn that still runs in a session that is gone, in milliseconds. */
const LOOK_AGAIN_MS = 1_000;
const LOOK_AGAIN_MOST_MS = 10_000;

/** @internal */
export interface TurnsHost extends TurnHost {
  /** Sends a frame if the session is up. */
  send(frame: ClientFrame): void;
  nextCid(): number;
  /** The id of the session as it is now. */
  session(): string;
}

/**
 * The turns of a session: its own, and those of others that it is in the audience of.
 *
 * @internal
 */
export class Turns {
  readonly #host: TurnsHost;
  /** In the order in which they began. */
  readonly #turns = new Map<string, Turn>();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();

  constructor(host: TurnsHost) {
    this.#host = host;
  }

  /** A new turn of this player; it is not sent yet. */
  open(player: string, d: Say): Turn {
    this.#prune();
    const key = keyOf(player, d.turn);
    if (this.#turns.get(key)?.ended === false) throw new UsageError(`turn ${d.turn} is running`);
    const running = [...this.#turns.values()].filter((turn) => turn.request && !turn.ended).length;
    if (running >= MAX_RUNNING) throw new UsageError(`${MAX_RUNNING} turns are running already`);
    const names = { id: d.turn, player, npc: d.npc };
    const turn = new Turn(names, this.#host, { cid: this.#host.nextCid(), d });
    this.#turns.delete(key);
    this.#turns.set(key, turn);
    return turn;
  }

  /** Sends the turn's line, for the first time or again. */
  say(turn: Turn): void {
    if (!turn.request || turn.ended) return;
    turn.sends += 1;
    turn.home ??= this.#host.session();
    const { cid, d } = turn.request;
    this.#host.send({ op: "say", cid, d });
  }

  /**
   * Takes a frame that belongs to a turn, and how large it was. Returns the turn if it is another player's and has
   * just begun.
   */
  take(frame: RawFrame, size: number): Turn | undefined {
    if (!isTurnEvent(frame)) return undefined;
    const { turn: id, player } = frame.d;
    const key = keyOf(player, id);
    const known = this.#turns.get(key);
    if (known && !(known.ended && frame.op === "turn.started")) {
      known.take(frame, size);
      return undefined;
    }
    if (frame.op !== "turn.started") return undefined;
    this.#prune();
    const turn = new Turn({ id, player, npc: frame.d.npc });
    this.#turns.delete(key);
    this.#turns.set(key, turn);
    turn.take(frame, size);
    return turn;
  }

  /** Takes an `error` that is about a line, or names a turn and answers no other frame. */
  fault(cid: RawFrame["cid"], payload: ErrorPayload): void {
    for (const turn of this.#turns.values()) {
      if (!turn.request) continue;
      const isAboutIt = cid === undefined ? payload.turn === turn.id : cid === turn.request.cid;
      if (!isAboutIt) continue;
      if (payload.code === "duplicate_turn" && turn.sends > 1) this.#duplicate(turn);
      else turn.fault(payload);
      return;
    }
  }

  /** The same session is on a new socket: lines that may not have arrived are sent again. */
  resumed(): void {
    for (const turn of this.#turns.values()) {
      if (!turn.ended && !turn.hasStarted) this.say(turn);
    }
    this.#play();
  }

  /** A new session is up. The server runs each line once, so all that have no end yet are sent again. */
  restarted(why: string): void {
    for (const turn of this.#turns.values()) {
      if (turn.ended) continue;
      if (!turn.request || turn.cancelAsked) {
        turn.fail(new TurnLostError(turn.id, turn.text, `its session is gone (${why})`));
        continue;
      }
      turn.restart();
      this.say(turn);
    }
    this.#play();
  }

  fail(error: Error): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    for (const turn of this.#turns.values()) {
      if (!turn.ended) turn.fail(new TurnLostError(turn.id, turn.text, error.message, { cause: error }));
    }
  }

  /** The server has the line already. */
  #duplicate(turn: Turn): void {
    // In its own session the frames of the turn come by themselves.
    if (turn.home === this.#host.session()) return;
    // In a session that is gone they go nowhere, but its end is kept: ask again until it is there.
    const bound = Math.min(LOOK_AGAIN_MOST_MS, LOOK_AGAIN_MS * 1.5 ** Math.min(turn.sends, 20));
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        if (!turn.hasStarted) this.say(turn);
      },
      (0.5 + 0.5 * Math.random()) * bound,
    );
    this.#timers.add(timer);
  }

  /** What was heard is not answered, so it is said again. */
  #play(): void {
    for (const turn of this.#turns.values()) {
      if (turn.heard === undefined || isOld(turn)) continue;
      const d = { turn: turn.id, heard_offset: turn.heard };
      this.#host.send({ op: "playback", cid: this.#host.nextCid(), d });
    }
  }

  #prune(): void {
    for (const [key, turn] of this.#turns) {
      if (isOld(turn) || (this.#turns.size >= MAX_REMEMBERED && (turn.ended || !turn.request))) {
        this.#turns.delete(key);
      }
    }
  }
}

function isOld(turn: Turn): boolean {
  return turn.endedAt !== undefined && performance.now() - turn.endedAt > REMEMBERED_MS;
}

function keyOf(player: string, turn: string): string {
  return JSON.stringify([player, turn]);
}
