/** Client of npc-gateway, for browsers and Node. */
export type { BackoffOptions } from "./backoff.js";
export { CLOSE_CODES, type CloseRule, closeRule } from "./close.js";
export { type Codec, codec, type Encoding, type Message } from "./codec.js";
export { type ConnectOptions, connect } from "./connect.js";
export type { Token, TokenReason, TokenSource } from "./credentials.js";
export type { Unsubscribe } from "./emitter.js";
export {
  ClosedError,
  ConnectError,
  NpcGatewayError,
  ProtocolError,
  RequestError,
  SessionClosedError,
  TurnLostError,
  UsageError,
} from "./errors.js";
export {
  type ClientFrame,
  type ClientOp,
  type RawFrame,
  type ServerFrame,
  type ServerOp,
  scalars,
  TURN_OPS,
  type TurnEvent,
  type TurnOp,
} from "./frames.js";
export type * from "./generated.js";
export { PROTOCOL } from "./handshake.js";
export type { ActOptions, EventOptions, Npc, SayOptions } from "./npc.js";
export type { Session, SessionEvents } from "./session.js";
export type { StateChange } from "./transport.js";
export type { Turn } from "./turn.js";
export type { WebSocketClass, WebSocketLike } from "./websocket.js";
