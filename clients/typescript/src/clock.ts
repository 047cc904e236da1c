import type { TurnEvent } from "./frames.js";
import { LONGEST_TIMER_MS } from "./limits.js";
import type { Turn } from "./turn.js";

/** When an event is due on the turn's clock; those without a time are due as soon as what was before them. */
function due(event: TurnEvent): number {
  switch (event.op) {
    case "turn.started":
    case "turn.cancelled":
      return 0;
    case "turn.done":
      return Number.POSITIVE_INFINITY;
    default:
      return event.d.t_ms;
  }
}

/** Takes out what a cancel took back. */
function retract(queue: TurnEvent[], at: { text_offset: number; t_ms: number }): TurnEvent[] {
  const kept: TurnEvent[] = [];
  for (const event of queue) {
    if (event.op === "turn.started" || event.op === "turn.cancelled" || event.op === "turn.done") {
      kept.push(event);
    } else if (event.op === "dialogue.delta") {
      const text = [...event.d.text].slice(0, Math.max(0, at.text_offset - event.d.offset)).join("");
      if (text !== "") kept.push({ op: "dialogue.delta", d: { ...event.d, text } });
    } else if (event.d.t_ms <= at.t_ms && event.d.text_offset <= at.text_offset) {
      kept.push(event);
    }
  }
  return kept;
}

/** Puts an event behind all that are due no later than it. */
function insert(queue: TurnEvent[], event: TurnEvent): void {
  let at = queue.length;
  while (at > 0) {
    const before = queue[at - 1];
    if (before === undefined || due(before) <= due(event)) break;
    at -= 1;
  }
  queue.splice(at, 0, event);
}

/**
 * The events of a turn, each when it is due: text is generated faster than it is spoken.
 *
 * @internal
 */
export async function* presented(turn: Turn): AsyncGenerator<TurnEvent, void, undefined> {
  let queue: TurnEvent[] = [];
  let taken = 0;
  for (;;) {
    const arrived = turn.changed();
    for (const event of turn.eventsFrom(taken)) {
      taken += 1;
      if (event.op === "turn.cancelled") queue = retract(queue, event.d.valid_through);
      insert(queue, event);
    }
    const next = queue[0];
    if (!next) {
      turn.throwIfFailed();
      await arrived;
      continue;
    }
    const wait = due(next) - (turn.clockMs ?? 0);
    if (wait <= 0 || next.op === "turn.done") {
      queue.shift();
      yield next;
      if (next.op === "turn.done") return;
      continue;
    }
    turn.throwIfFailed();
    await sleepUnless(arrived, wait);
  }
}

/** Waits so long, or until `wake` settles. */
async function sleepUnless(wake: Promise<void>, ms: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const sleep = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.min(ms, LONGEST_TIMER_MS));
  });
  await Promise.race([wake, sleep]);
  clearTimeout(timer);
}
