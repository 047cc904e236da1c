import { type Backoff, delayMs } from "./backoff.js";
import { closeRule } from "./close.js";
import type { Codec } from "./codec.js";
import type { Credentials, TokenReason } from "./credentials.js";
import { ClosedError, ConnectError, type NpcGatewayError, ProtocolError, RequestError } from "./errors.js";
import type { ClientFrame, RawFrame, ServerOp } from "./frames.js";
import type { ErrorPayload, Hello, Ready, Resumed, ResumeFailed } from "./generated.js";
import { Heartbeat } from "./heartbeat.js";
import { LONGEST_TIMER_MS } from "./limits.js";
import { Link, type LinkEnd } from "./link.js";
import { checkShape, isKnown } from "./shape.js";
import type { WebSocketClass } from "./websocket.js";

/** The version of the protocol that this client speaks. */
export const PROTOCOL = 1;

/** Where a session stands. */
export type StateChange =
  | { state: "open"; resumed: boolean }
  | { state: "reconnecting"; code: number; reason: string; attempt: number; delayMs: number }
  | { state: "closed"; error?: NpcGatewayError };

/** How a session came up. @internal */
export interface Up {
  resumed: boolean;
  /** Why there is a new session in place of an old one. */
  lost?: string;
  /** A token to show before anything else. */
  auth?: string;
}

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

/** Frames that carry no `s`; `error` carries none before `ready`. */
const UNNUMBERED: ReadonlySet<string> = new Set<ServerOp>([
  "hello",
  "heartbeat_ack",
  "resumed",
  "resume_failed",
  "error",
]);
/** So many sockets in a row that end in a breach of the protocol are no accident. */
const MAX_VIOLATIONS = 3;
/** So many tokens in a row that are refused are not worth another one. */
const MAX_REJECTIONS = 3;
/** A socket that lived so long was no failed attempt. */
const SETTLED_MS = 5_000;

/**
 * Keeps one session on whatever sockets it takes: handshake, heartbeats, `s`, resuming, coming back.
 *
 * @internal
 */
export class Transport {
  readonly #options: TransportOptions;
  readonly #hooks: Hooks;
  readonly #heartbeat: Heartbeat;
  #link: Link | undefined;
  #phase: "hello" | "identify" | "resume" | "up" = "hello";
  #resume: { session: string; resume_token: string; epoch: string } | undefined;
  #seq = 0;
  #progressed = false;
  /** Numbered frames since the session was asked for on this socket. */
  #replayed = 0;
  /** The token that this life starts with. */
  #token: string | undefined;
  #tokenReason: TokenReason = "connect";
  #rejections = 0;
  #violations = 0;
  #lost: string | undefined;
  #fatal: NpcGatewayError | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #closing = false;
  #wake: (() => void) | undefined;
  hello: Hello | undefined;
  ready: Ready | undefined;

  constructor(options: TransportOptions, hooks: Hooks) {
    this.#options = options;
    this.#hooks = hooks;
    this.#heartbeat = new Heartbeat(
      () => this.send({ op: "heartbeat", d: { seq: this.#seq } }),
      () => this.#link?.drop(4003, "the server is silent"),
    );
  }

  /** The last `s` received. */
  get seq(): number {
    return this.#seq;
  }

  get up(): boolean {
    return this.#link !== undefined && this.#phase === "up";
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
        this.#forget(rule.name);
        return undefined;
      case "token":
        this.#rejections += 1;
        this.#tokenReason = "rejected";
        if (!this.#options.credentials.renewable || this.#rejections >= MAX_REJECTIONS) {
          return new ClosedError(end.code, end.reason);
        }
        // A session outlives its token: it is resumed and shown the new one. If that was refused, a new session.
        if (this.#rejections >= 2) this.#forget(rule.name);
        return undefined;
      case "resume":
        return undefined;
    }
  }

  #failure(end: End): NpcGatewayError {
    if (end.code >= 4000 && end.code <= 4999) return new ClosedError(end.code, end.reason);
    const why = end.reason || `the socket was closed with ${end.code}`;
    return new ConnectError(`cannot connect to ${this.#options.url}: ${why}`, { cause: end.cause });
  }

  /** The session cannot be resumed any more. */
  #forget(why: string): void {
    if (this.#resume) this.#lost = why;
    this.#resume = undefined;
  }

  /** One socket, from before it is opened until it has ended. */
  async #life(): Promise<End> {
    this.#phase = "hello";
    this.#progressed = false;
    this.#token = undefined;
    if (!this.#resume || this.#rejections > 0) {
      try {
        this.#token = await this.#options.credentials.get(this.#tokenReason);
      } catch (cause) {
        const reason = `no token: ${cause instanceof Error ? cause.message : String(cause)}`;
        return { code: 1000, reason, up: false, progressed: false, cause };
      }
    }
    if (this.#closing) return { code: 1000, reason: "", up: false, progressed: false };
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
    const up = this.#wasUp();
    return { ...end, up, progressed: this.#progressed || (up && Date.now() - began >= SETTLED_MS) };
  }

  #wasUp(): boolean {
    return this.#phase === "up";
  }

  /** Until the session is up, something must come within the time given. */
  #expectWithin(): void {
    clearTimeout(this.#deadline);
    if (this.#phase === "up") return;
    const { connectTimeoutMs } = this.#options;
    const late = () => this.#link?.drop(1006, `no answer for ${connectTimeoutMs} ms`);
    this.#deadline = setTimeout(late, connectTimeoutMs);
  }

  #received(frame: RawFrame, size: number): void {
    this.#heartbeat.alive();
    this.#expectWithin();
    try {
      // Another version's `hello` may look different.
      if (frame.op !== "hello" || frame.d["protocol"] === PROTOCOL) checkShape(frame);
      if (!this.#isNext(frame)) return;
      this.#handle(frame, size);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#link?.violate(error);
    }
  }

  /** Checks `s`: no hole, and nothing twice. */
  #isNext({ op, s }: RawFrame): boolean {
    if (s === undefined) {
      if (isKnown(op) && !UNNUMBERED.has(op)) throw new ProtocolError(`a \`${op}\` without \`s\``);
      return true;
    }
    if (this.#phase === "hello" || (this.#phase === "identify" && op !== "ready")) {
      throw new ProtocolError(`a \`${op}\` with \`s\` ${s} before there is a session`);
    }
    // Before it is counted: what is refused has not been received.
    if (op === "ready") this.#expect(op, "identify");
    if (s <= this.#seq) return false;
    if (typeof s === "bigint" || s !== this.#seq + 1) {
      throw new ProtocolError(`a hole in the sequence: \`s\` ${s} after ${this.#seq}`);
    }
    this.#seq = s;
    this.#replayed += 1;
    if (op !== "ready") this.#progressed = true;
    return true;
  }

  #handle(frame: RawFrame, size: number): void {
    const { op, d } = frame;
    switch (op) {
      case "hello":
        this.#greeted(frame);
        break;
      case "ready":
        this.#identified(d as unknown as Ready);
        break;
      case "resumed":
        this.#expect(op, "resume");
        this.#resumedAt(d as unknown as Resumed);
        break;
      case "resume_failed":
        this.#expect(op, "resume");
        this.#refused(d as unknown as ResumeFailed);
        break;
      case "authed": {
        this.#rejections = 0;
        const { expires_ms } = d as { expires_ms?: number };
        this.#options.credentials.expires(expires_ms);
        this.#scheduleRenewal();
        break;
      }
      case "error":
        if (this.#phase !== "up" && frame.s === undefined) this.#handshakeError(d as unknown as ErrorPayload);
        break;
    }
    this.#hooks.frame(frame, size);
    if (op === "ready" || op === "resumed") this.#isUp(op === "resumed");
  }

  #expect(op: string, phase: "identify" | "resume"): void {
    if (this.#phase !== phase) throw new ProtocolError(`a \`${op}\` that was not asked for`);
  }

  #greeted({ d }: RawFrame): void {
    if (this.#phase !== "hello") throw new ProtocolError("a second `hello`");
    const hello = d as unknown as Hello;
    if (hello.protocol !== PROTOCOL) {
      this.#stop(new ConnectError(`the server speaks protocol ${d["protocol"]}, this client ${PROTOCOL}`));
      return;
    }
    if (!(hello.heartbeat_ms > 0)) throw new ProtocolError("`heartbeat_ms` of `hello` is not above 0");
    this.hello = hello;
    if (this.#resume) {
      this.#phase = "resume";
      this.#replayed = 0;
      this.send({ op: "resume", d: { ...this.#resume, seq: this.#seq } });
    } else if (this.#token !== undefined) {
      this.#identify(this.#token);
    }
  }

  #identify(token: string): void {
    this.#phase = "identify";
    this.#seq = 0;
    const { client } = this.#options;
    this.send({ op: "identify", d: { token, client } });
  }

  #identified(ready: Ready): void {
    const { session, resume_token, epoch } = ready;
    this.#resume = { session, resume_token, epoch };
    this.#rejections = 0;
    this.#token = undefined;
    this.ready = ready;
  }

  #resumedAt({ seq, replayed, resume_token }: Resumed): void {
    if (seq > this.#seq || replayed > this.#replayed) {
      throw new ProtocolError(
        `\`resumed\` after ${seq} with ${replayed} frames, but ${this.#replayed} came, up to ${this.#seq}`,
      );
    }
    if (this.#resume) this.#resume.resume_token = resume_token;
  }

  /** The session is gone; the socket stays for a new one. */
  #refused({ reason }: ResumeFailed): void {
    this.#forget(reason);
    const link = this.#link;
    const identify = (token: string) => {
      if (link !== undefined && link === this.#link) this.#identify(token);
    };
    if (this.#token !== undefined) {
      identify(this.#token);
      return;
    }
    this.#options.credentials.get("connect").then(identify, (cause) => {
      if (link === this.#link) link?.drop(1006, `no token: ${String(cause)}`);
    });
  }

  #handshakeError(payload: ErrorPayload): void {
    // Nothing of the handshake is different the next time, unless the server says so.
    if (payload.temporary) this.#link?.drop(1006, payload.message);
    else this.#stop(new RequestError(payload));
  }

  #stop(error: NpcGatewayError): void {
    this.#fatal = error;
    this.#link?.drop(1000, "");
  }

  #isUp(resumed: boolean): void {
    if (!this.#link || !this.hello) return;
    this.#phase = "up";
    clearTimeout(this.#deadline);
    this.#heartbeat.start(this.hello.heartbeat_ms);
    this.#tokenReason = "connect";
    this.#scheduleRenewal();
    const lost = this.#lost;
    this.#lost = undefined;
    // First, so that what is asked for at the news comes after what is said again.
    this.#hooks.up({
      resumed,
      ...(lost === undefined ? {} : { lost }),
      ...(resumed && this.#token !== undefined ? { auth: this.#token } : {}),
    });
    this.#hooks.state({ state: "open", resumed });
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
