import { closeRule } from "./close.js";
import type { ErrorCode, ErrorPayload, TurnDone } from "./generated.js";

// Each class has its name as a text: a bundler may shorten the class's own.

/** What every error of this package is. */
export class NpcGatewayError extends Error {
  override name = "NpcGatewayError";
}

/** The server answered a request, or ended a turn, with an `error` frame. `code` says which one. */
export class RequestError extends NpcGatewayError {
  override name = "RequestError";

  constructor(
    /** All that the server said. */
    readonly payload: ErrorPayload,
    /** The end of the turn, if it had begun. */
    readonly done?: TurnDone,
  ) {
    super(`${payload.code}: ${payload.message}`);
  }

  get code(): ErrorCode {
    return this.payload.code;
  }

  /** Whether the same request may succeed later. */
  get temporary(): boolean {
    return this.payload.temporary;
  }

  /** After how many milliseconds. */
  get retryAfterMs(): number | undefined {
    return this.payload.retry_after_ms;
  }

  /** The key of the payload that is wrong. */
  get field(): string | undefined {
    return this.payload.field;
  }

  /** The limit that was passed. */
  get limit(): number | undefined {
    return this.payload.limit;
  }
}

/** No socket could be opened, or no handshake made, in as many attempts as there are. */
export class ConnectError extends NpcGatewayError {
  override name = "ConnectError";
}

/** The server closed the socket in a way after which coming back is no use. */
export class ClosedError extends NpcGatewayError {
  override name = "ClosedError";
  /** The code's name in the protocol, or the reason that the server gave. */
  readonly reason: string;

  constructor(
    /** Close code; 4000 to 4999 are the protocol's. */
    readonly code: number,
    reason: string,
  ) {
    const name = closeRule(code).name || reason;
    super(`the server closed the socket: ${code}${name ? ` ${name}` : ""}`);
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

  constructor(
    readonly turn: string,
    /** What had arrived of the line. */
    readonly text: string,
    why: string,
    options?: ErrorOptions,
  ) {
    super(`turn ${turn} is lost: ${why}`, options);
  }
}

/** A request that was not sent: too large, too many, or not for this turn. */
export class UsageError extends NpcGatewayError {
  override name = "UsageError";
}
