import { type Backoff, delayMs } from "./backoff.js";
import { closeRule } from "./close.js";
import type { Codec } from "./codec.js";
import type { Credentials } from "./credentials.js";
import { ClosedError, ConnectError, type NpcGatewayError, ProtocolError } from "./errors.js";
import type { ClientFrame, RawFrame } from "./frames.js";
import type { Hello, Ready } from "./generated.js";
import { Handshake, type Up } from "./handshake.js";
import { Heartbeat } from "./heartbeat.js";
import { LONGEST_TIMER_MS } from "./limits.js";
import { Link, type LinkEnd } from "./link.js";
import type { WebSocketClass } from "./websocket.js";

/** Where a session stands. */
export type StateChange =
  | { state: "open"; resumed: boolean }
  | { state: "reconnecting"; code: number; reason: string; attempt: number; delayMs: number }
  | { state: "closed"; error?: NpcGatewayError };

/** @internal */
export interface Hooks {
  /** Every frame of the server, in order, once, and how large it was. */
  frame(frame: RawFrame, size: number): void;
  up(how: Up): void;
  /** The token is about to expire. */
  renew(): void;
  state(change: StateChange): void;
  /** Something was wrong that the client lived through. */
  problem(error: NpcGatewayError): void;
}

/** @internal */
export interface TransportOptions {
  url: string;
  WebSocket: WebSocketClass;
  codec: Codec;
  credentials: Credentials;
  client: { name: string; version: string };
  backoff: Backoff;
  connectAttempts: number;
  connectTimeoutMs: number;
}

interface End extends LinkEnd {
  up: boolean;
  progressed: boolean;
  cause?: unknown;
}

/** So many sockets in a row that end in a breach of the protocol are no accident. */
const MAX_VIOLATIONS = 3;
/** So many tokens in a row that are refused are not worth another one. */
const MAX_REJECTIONS = 3;
/** A socket that lived so long was no failed attempt. */
const SETTLED_MS = 5_000;

/**
 * Keeps one session on whatever sockets it takes: opens them, beats, and comes back when one is lost.
 *
 * @internal
 */
export class Transport {
  readonly #options: TransportOptions;
  readonly #hooks: Hooks;
  readonly #heartbeat: Heartbeat;
  readonly #handshake: Handshake;
  #link: Link | undefined;
  #violations = 0;
  #fatal: NpcGatewayError | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #closing = false;
  #wake: (() => void) | undefined;

  constructor(options: TransportOptions, hooks: Hooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#heartbeat = new Heartbeat(
      () => this.send({ op: "heartbeat", d: { seq: this.seq } }),
      () => this.#link?.drop(4003, "the server is silent"),
    );
    const host = {
      send: (frame: ClientFrame) => this.send(frame),
      frame: (frame: RawFrame, size: number) => hooks.frame(frame, size),
      up: (how: Up) => this.#isUp(how),
      expiry: () => this.#scheduleRenewal(),
      drop: (reason: string) => this.#link?.drop(1006, reason),
      stop: (error: NpcGatewayError) => {
        this.#fatal = error;
        this.#link?.drop(1000, "");
      },
    };
    this.#handshake = new Handshake(host, options.credentials, options.client);
  }

  /** The last `s` received. */
  get seq(): number {
    return this.#handshake.seq;
  }

  get up(): boolean {
    return this.#link !== undefined && this.#handshake.up;
  }

  get hello(): Hello | undefined {
    return this.#handshake.hello;
  }

  get ready(): Ready | undefined {
    return this.#handshake.ready;
  }

  send(frame: ClientFrame): void {
    this.#link?.send(frame);
  }

  /** Ends the wait for the next attempt. */
  readonly reconnectNow = (): void => this.#wake?.();

  close(): void {
    this.#closing = true;
    this.#link?.drop(1000, "");
    this.#wake?.();
  }

  /** Runs until the session is over for good; returns why, or nothing after `close()`. */
  async run(): Promise<NpcGatewayError | undefined> {
    const target = globalThis as Partial<Pick<EventTarget, "addEventListener" | "removeEventListener">>;
    target.addEventListener?.("online", this.reconnectNow);
    try {
      return await this.#lives();
    } finally {
      target.removeEventListener?.("online", this.reconnectNow);
      this.#options.credentials.stop();
    }
  }

  async #lives(): Promise<NpcGatewayError | undefined> {
    let failures = 0;
    let attempt = 0;
    while (!this.#closing) {
      const end = await this.#life();
      if (this.#closing) break;
      if (this.#fatal) return this.#fatal;
      failures = end.up ? 0 : failures + 1;
      attempt = end.progressed ? 0 : attempt;
      const stop = this.#after(end);
      if (stop) return stop;
      const { backoff, connectAttempts } = this.#options;
      const rule = closeRule(end.code);
      const most = this.ready ? backoff.attempts : connectAttempts;
      // Refused tokens have a bound of their own.
      if (failures > 0 && failures >= most && rule.then !== "token") return this.#failure(end);
      const wait = delayMs(attempt, rule.wait, backoff);
      attempt += 1;
      this.#hooks.state({ state: "reconnecting", code: end.code, reason: end.reason, attempt, delayMs: wait });
      await this.#sleep(wait);
    }
    return undefined;
  }

  /** What an end asks for; an error if it is the last one. */
  #after(end: End): NpcGatewayError | undefined {
    if (end.violation) {
      this.#violations += 1;
      if (this.#violations >= MAX_VIOLATIONS) return end.violation;
      this.#hooks.problem(end.violation);
      return undefined;
    }
    this.#violations = 0;
    const rule = closeRule(end.code);
    switch (rule.then) {
      case "stop":
        return new ClosedError(end.code, end.reason);
      case "identify":
        this.#handshake.forget(rule.name);
        return undefined;
      case "token": {
        this.#handshake.rejected();
        const { rejections } = this.#handshake;
        if (!this.#options.credentials.renewable || rejections >= MAX_REJECTIONS) {
          return new ClosedError(end.code, end.reason);
        }
        // A session outlives its token: it is resumed and shown the new one. If that was refused, a new session.
        if (rejections >= 2) this.#handshake.forget(rule.name);
        return undefined;
      }
      case "resume":
        return undefined;
    }
  }

  #failure(end: End): NpcGatewayError {
    if (end.code >= 4000 && end.code <= 4999) return new ClosedError(end.code, end.reason);
    const why = end.reason || `the socket was closed with ${end.code}`;
    return new ConnectError(`cannot connect to ${this.#options.url}: ${why}`, { cause: end.cause });
  }

  /** One socket, from before it is opened until it has ended. */
  async #life(): Promise<End> {
    const nothing = { code: 1000, reason: "", up: false, progressed: false };
    try {
      await this.#handshake.prepare();
    } catch (cause) {
      const reason = `no token: ${cause instanceof Error ? cause.message : String(cause)}`;
      return { ...nothing, reason, cause };
    }
    if (this.#closing) return nothing;
    const began = Date.now();
    const end = await new Promise<LinkEnd & { cause?: unknown }>((resolve) => {
      const { WebSocket, url, codec } = this.#options;
      try {
        this.#link = new Link(WebSocket, url, codec, (frame, size) => this.#received(frame, size), resolve);
        this.#expectWithin();
      } catch (cause) {
        // A URL that is none: it will be none the next time, too.
        this.#fatal = new ConnectError(`cannot connect to ${url}: ${String(cause)}`, { cause });
        resolve({ code: 1006, reason: "", cause });
      }
    });
    clearTimeout(this.#deadline);
    this.#heartbeat.stop();
    this.#options.credentials.stop();
    this.#link = undefined;
    const { up, progressed } = this.#handshake;
    return { ...end, up, progressed: progressed || (up && Date.now() - began >= SETTLED_MS) };
  }

  /** Until the session is up, something must come within the time given. */
  #expectWithin(): void {
    clearTimeout(this.#deadline);
    if (this.#handshake.up) return;
    const { connectTimeoutMs } = this.#options;
    const late = () => this.#link?.drop(1006, `no answer for ${connectTimeoutMs} ms`);
    this.#deadline = setTimeout(late, connectTimeoutMs);
  }

  #received(frame: RawFrame, size: number): void {
    this.#heartbeat.alive();
    this.#expectWithin();
    try {
      this.#handshake.take(frame, size);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#link?.violate(error);
    }
  }

  #isUp(how: Up): void {
    // Whoever was told of the frame may have closed the session.
    if (!this.#link || !this.hello) return;
    clearTimeout(this.#deadline);
    this.#heartbeat.start(this.hello.heartbeat_ms);
    this.#scheduleRenewal();
    // First, so that what is asked for at the news comes after what is said again.
    this.#hooks.up(how);
    this.#hooks.state({ state: "open", resumed: how.resumed });
  }

  #scheduleRenewal(): void {
    this.#options.credentials.schedule(() => this.#hooks.renew());
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), Math.min(ms, LONGEST_TIMER_MS));
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
