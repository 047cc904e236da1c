import { closeRule } from "./close.js";
import type { ErrorCode, ErrorPayload, TurnDone } from "./generated.js";

/** What every error of this package is. */
export class NpcGatewayError extends Error {
  override name = "NpcGatewayError";
}

/** The server answered a request, or ended a turn, with an `error` frame. `code` says which one. */
export class RequestError extends NpcGatewayError {
  override name = "RequestError";
  readonly code: ErrorCode;
  /** Whether the same request may succeed later. */
  readonly temporary: boolean;
  /** After how many milliseconds. */
  readonly retryAfterMs: number | undefined;
  readonly turn: string | undefined;
  readonly npc: string | undefined;
  /** The key of the payload that is wrong. */
  readonly field: string | undefined;
  /** The limit that was passed. */
  readonly limit: number | undefined;
  /** The end of the turn, if it had begun. */
  readonly done: TurnDone | undefined;

  constructor(payload: ErrorPayload, done?: TurnDone) {
    super(`${payload.code}: ${payload.message}`);
    this.code = payload.code;
    this.temporary = payload.temporary;
    this.retryAfterMs = payload.retry_after_ms;
    this.turn = payload.turn;
    this.npc = payload.npc;
    this.field = payload.field;
    this.limit = payload.limit;
    this.done = done;
  }
}

/** No socket could be opened, or no handshake made, in as many attempts as there are. */
export class ConnectError extends NpcGatewayError {
  override name = "ConnectError";
}

/** The server closed the socket in a way after which coming back is no use. */
export class ClosedError extends NpcGatewayError {
  override name = "ClosedError";
  /** Close code; 4000 to 4999 are the protocol's. */
  readonly code: number;
  /** Its name in the protocol, or the reason that the server gave. */
  readonly reason: string;

  constructor(code: number, reason: string) {
    const name = closeRule(code).name || reason;
    super(`the server closed the socket: ${code}${name ? ` ${name}` : ""}`);
    this.code = code;
    this.reason = name;
  }
}

/** The session was closed by `close()` or its signal, so nothing can be asked of it any more. */
export class SessionClosedError extends NpcGatewayError {
  override name = "SessionClosedError";
  constructor(options?: ErrorOptions) {
    super("the session is closed", options);
  }
}

/** The server sent what the protocol does not allow. */
export class ProtocolError extends NpcGatewayError {
  override name = "ProtocolError";
}

/** The turn cannot be finished: its session is gone, and the server no longer has what was missing of it. */
export class TurnLostError extends NpcGatewayError {
  override name = "TurnLostError";
  readonly turn: string;
  /** What had arrived of the line. */
  readonly text: string;

  constructor(turn: string, text: string, why: string, options?: ErrorOptions) {
    super(`turn ${turn} is lost: ${why}`, options);
    this.turn = turn;
    this.text = text;
  }
}

/** A request that was not sent: too large, too many, or not for this turn. */
export class UsageError extends NpcGatewayError {
  override name = "UsageError";
}
