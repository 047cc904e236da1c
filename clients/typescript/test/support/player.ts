// A player who is quick to come back, and what a test sees of its session.

import {
  type ConnectOptions,
  connect,
  type Encoding,
  type Session,
  type StateChange,
} from "npc-gateway-client";
import { within } from "./within.js";

export const ENCODINGS: readonly Encoding[] = ["msgpack", "json"];
export const QUICK = { initialMs: 20, maxMs: 200, waitMs: 40 };
/** The same answer whenever it is asked for. */
export const GREEDY = { greedy: true, max_tokens: 24 };

/** A session that is closed at the end of the test, whatever happens in it. */
export async function play(
  t: { after(end: () => void): void },
  url: string,
  options: Partial<ConnectOptions> = {},
): Promise<Session> {
  const session = await connect({
    url,
    token: "mina",
    reconnect: QUICK,
    connectTimeoutMs: 60_000,
    client: { name: "tests", version: "1" },
    ...options,
  });
  t.after(() => session.close());
  return session;
}

/** What becomes of a session, and every `s` that its frames had. */
export class Watch {
  readonly states: StateChange[] = [];
  readonly numbers: number[] = [];
  readonly problems: Error[] = [];
  readonly resets: string[] = [];
  #taken = 0;
  #wake: () => void = () => {};

  constructor(session: Session) {
    session.on("state", (change) => {
      this.states.push(change);
      this.#wake();
    });
    session.on("frame", ({ s }) => {
      if (s !== undefined) this.numbers.push(Number(s));
    });
    session.on("problem", (error) => this.problems.push(error));
    session.on("reset", ({ reason }) => this.resets.push(reason));
  }

  /** The next change to this state. */
  async next<S extends StateChange["state"]>(state: S): Promise<Extract<StateChange, { state: S }>> {
    for (;;) {
      const change = this.states[this.#taken];
      if (change) {
        this.#taken += 1;
        if (change.state === state) return change as Extract<StateChange, { state: S }>;
      } else {
        await within(
          new Promise<void>((resolve) => {
            this.#wake = resolve;
          }),
          `waiting for the state ${state}`,
        );
      }
    }
  }
}
