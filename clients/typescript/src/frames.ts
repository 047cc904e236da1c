import type { ClientPayloads, ServerPayloads } from "./generated.js";

/** What a frame from the server may be. */
export type ServerOp = keyof ServerPayloads;
/** What a frame from the client may be. */
export type ClientOp = keyof ClientPayloads;

/** A frame from the server: `frame.op` tells the type of `frame.d`. */
export type ServerFrame = {
  [Op in ServerOp]: { op: Op; s?: number; cid?: string | number; d: ServerPayloads[Op] };
}[ServerOp];

/** A frame from the client. */
export type ClientFrame = {
  [Op in ClientOp]: { op: Op; cid?: string | number; d: ClientPayloads[Op] };
}[ClientOp];

/** A frame of which only the outside was checked: an `op` that this client does not know is possible. */
export interface RawFrame {
  op: string;
  s?: number | bigint;
  cid?: string | number | bigint;
  d: Record<string, unknown>;
}

/** Ops of the frames that belong to one turn and carry its id and its player. */
export const TURN_OPS = [
  "turn.started",
  "dialogue.delta",
  "emotion",
  "face.key",
  "action.proposed",
  "social",
  "goal",
  "turn.cancelled",
  "turn.done",
] as const satisfies readonly ServerOp[];

export type TurnOp = (typeof TURN_OPS)[number];

/** One thing that happens in a turn: `event.op` tells the type of `event.d`. */
export type TurnEvent = { [Op in TurnOp]: { op: Op; d: ServerPayloads[Op] } }[TurnOp];

const turnOps: ReadonlySet<string> = new Set(TURN_OPS);

/** @internal */
export function isTurnEvent(frame: { op: string; d: unknown }): frame is TurnEvent {
  return turnOps.has(frame.op);
}

/** Unicode scalar values in a text: what the protocol's offsets count. */
export function scalars(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
