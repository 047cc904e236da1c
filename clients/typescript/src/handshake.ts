import type { Credentials, TokenReason } from "./credentials.js";
import { ConnectError, type NpcGatewayError, ProtocolError, RequestError } from "./errors.js";
import type { ClientFrame, RawFrame, ServerOp } from "./frames.js";
import type { ErrorPayload, Hello, Ready, Resumed, ResumeFailed } from "./generated.js";
import { checkShape, isKnown } from "./shape.js";

/** The version of the protocol that this client speaks. */
export const PROTOCOL = 1;

/** How a session came up. @internal */
export interface Up {
  resumed: boolean;
  /** Why there is a new session in place of an old one. */
  lost?: string;
  /** A token to show before anything else. */
  auth?: string;
}

/** What a handshake asks of the transport. @internal */
export interface HandshakeHost {
  send(frame: ClientFrame): void;
  /** Every frame of the server, in order, once, and how large it was. */
  frame(frame: RawFrame, size: number): void;
  up(how: Up): void;
  /** The server said when the token expires. */
  expiry(): void;
  /** Ends this socket; there will be another one. */
  drop(reason: string): void;
  /** Ends the session for good. */
  stop(error: NpcGatewayError): void;
}

/** Frames that carry no `s`; `error` carries none before `ready`. */
const UNNUMBERED: ReadonlySet<string> = new Set<ServerOp>([
  "hello",
  "heartbeat_ack",
  "resumed",
  "resume_failed",
  "error",
]);

/**
 * The protocol of one session, over all of its sockets: `hello`, then `identify` or `resume`, and the order of `s`.
 *
 * @internal
 */
export class Handshake {
  readonly #host: HandshakeHost;
  readonly #credentials: Credentials;
  readonly #client: { name: string; version: string };
  #phase: "hello" | "identify" | "resume" | "up" = "hello";
  #ticket: { session: string; resume_token: string; epoch: string } | undefined;
  #seq = 0;
  /** Numbered frames since the session was asked for on this socket. */
  #replayed = 0;
  #progressed = false;
  /** The token that this socket starts with. */
  #token: string | undefined;
  #tokenReason: TokenReason = "connect";
  #lost: string | undefined;
  /** Counts the sockets. */
  #socket = 0;
  /** Tokens in a row that were refused. */
  rejections = 0;
  hello: Hello | undefined;
  ready: Ready | undefined;

  constructor(host: HandshakeHost, credentials: Credentials, client: { name: string; version: string }) {
    this.#host = host;
    this.#credentials = credentials;
    this.#client = client;
  }

  /** The last `s` received. */
  get seq(): number {
    return this.#seq;
  }

  get up(): boolean {
    return this.#phase === "up";
  }

  /** Whether this socket brought something new. */
  get progressed(): boolean {
    return this.#progressed;
  }

  /** Before a socket is opened: gets the token that it needs. */
  async prepare(): Promise<void> {
    this.#socket += 1;
    this.#phase = "hello";
    this.#progressed = false;
    this.#token = undefined;
    if (this.#ticket && this.rejections === 0) return;
    this.#token = await this.#credentials.get(this.#tokenReason);
  }

  /** The token was refused. */
  rejected(): void {
    this.rejections += 1;
    this.#tokenReason = "rejected";
  }

  /** The session cannot be resumed any more. */
  forget(why: string): void {
    if (this.#ticket) this.#lost = why;
    this.#ticket = undefined;
  }

  /** Takes a frame. Throws a `ProtocolError` if it may not come now. */
  take(frame: RawFrame, size: number): void {
    // Another version's `hello` may look different.
    if (frame.op !== "hello" || frame.d["protocol"] === PROTOCOL) checkShape(frame);
    if (!this.#isNext(frame)) return;
    this.#handle(frame);
    this.#host.frame(frame, size);
    if (frame.op === "ready" || frame.op === "resumed") this.#isUp(frame.op === "resumed");
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

  #handle({ op, s, d }: RawFrame): void {
    switch (op) {
      case "hello":
        this.#greeted(d as unknown as Hello);
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
      case "authed":
        this.rejections = 0;
        this.#credentials.expires((d as { expires_ms?: number }).expires_ms);
        this.#host.expiry();
        break;
      case "error":
        if (this.#phase !== "up" && s === undefined) this.#failed(d as unknown as ErrorPayload);
        break;
    }
  }

  #expect(op: string, phase: "identify" | "resume"): void {
    if (this.#phase !== phase) throw new ProtocolError(`a \`${op}\` that was not asked for`);
  }

  #greeted(hello: Hello): void {
    if (this.#phase !== "hello") throw new ProtocolError("a second `hello`");
    if (hello.protocol !== PROTOCOL) {
      const spoken = String(hello.protocol);
      this.#host.stop(new ConnectError(`the server speaks protocol ${spoken}, this client ${PROTOCOL}`));
      return;
    }
    if (!(hello.heartbeat_ms > 0)) throw new ProtocolError("`heartbeat_ms` of `hello` is not above 0");
    this.hello = hello;
    if (this.#ticket) {
      this.#phase = "resume";
      this.#replayed = 0;
      this.#host.send({ op: "resume", d: { ...this.#ticket, seq: this.#seq } });
    } else if (this.#token !== undefined) {
      this.#identify(this.#token);
    }
  }

  #identify(token: string): void {
    this.#phase = "identify";
    this.#seq = 0;
    this.#host.send({ op: "identify", d: { token, client: this.#client } });
  }

  #identified(ready: Ready): void {
    const { session, resume_token, epoch } = ready;
    this.#ticket = { session, resume_token, epoch };
    this.rejections = 0;
    this.#token = undefined;
    this.ready = ready;
  }

  #resumedAt({ seq, replayed, resume_token }: Resumed): void {
    if (seq > this.#seq || replayed > this.#replayed) {
      throw new ProtocolError(
        `\`resumed\` after ${seq} with ${replayed} frames, but ${this.#replayed} came, up to ${this.#seq}`,
      );
    }
    if (this.#ticket) this.#ticket.resume_token = resume_token;
  }

  /** The session is gone; the socket stays for a new one. */
  #refused({ reason }: ResumeFailed): void {
    this.forget(reason);
    if (this.#token !== undefined) {
      this.#identify(this.#token);
      return;
    }
    const socket = this.#socket;
    this.#credentials.get("connect").then(
      (token) => {
        if (socket === this.#socket) this.#identify(token);
      },
      (cause) => {
        if (socket === this.#socket) this.#host.drop(`no token: ${String(cause)}`);
      },
    );
  }

  #failed(payload: ErrorPayload): void {
    // Nothing of the handshake is different the next time, unless the server says so.
    if (payload.temporary) this.#host.drop(payload.message);
    else this.#host.stop(new RequestError(payload));
  }

  #isUp(resumed: boolean): void {
    this.#phase = "up";
    this.#tokenReason = "connect";
    const lost = this.#lost;
    this.#lost = undefined;
    this.#host.up({
      resumed,
      ...(lost === undefined ? {} : { lost }),
      ...(resumed && this.#token !== undefined ? { auth: this.#token } : {}),
    });
  }
}
