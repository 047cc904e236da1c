/** How long the client stays away after it lost the socket. Every time is drawn at random up to its bound. */
export interface BackoffOptions {
  /** Bound of the first wait, in milliseconds. Default 250. */
  initialMs?: number;
  /** The bound doubles with each attempt up to this, in milliseconds. Default 30000. */
  maxMs?: number;
  /** Least bound where the server asks to wait (4001, 4004, 4005), in milliseconds. Default 5000. */
  waitMs?: number;
  /** Attempts in a row that lead to no session, before the client gives up. Default: no end. */
  attempts?: number;
}

/** @internal */
export type Backoff = Required<BackoffOptions>;

/** @internal */
export function backoff(options: BackoffOptions = {}): Backoff {
  const { initialMs = 250, maxMs = 30_000, waitMs = 5_000, attempts = Number.POSITIVE_INFINITY } = options;
  for (const [name, value] of Object.entries({ initialMs, maxMs, waitMs, attempts })) {
    if (!(value >= 0)) throw new TypeError(`reconnect.${name} must be a number from 0 on, not ${value}`);
  }
  return { initialMs, maxMs, waitMs, attempts };
}

/**
 * Milliseconds to wait before attempt `attempt` (0 is the first): anything up to the bound, so that clients
 * that lost the same server do not come back together; at least half of it where the server asked to wait.
 *
 * @internal
 */
export function delayMs(attempt: number, wait: boolean, options: Backoff, random = Math.random): number {
  const grown = Math.min(options.maxMs, options.initialMs * 2 ** Math.min(attempt, 30));
  if (!wait) return random() * grown;
  return (0.5 + 0.5 * random()) * Math.max(options.waitMs, grown);
}
