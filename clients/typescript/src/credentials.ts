import { UsageError } from "./errors.js";
import { LONGEST_TIMER_MS } from "./limits.js";

/** Why a token is asked for: to identify, because the old one is about to expire, or was refused. */
export type TokenReason = "connect" | "renew" | "rejected";

/** A token, and when it expires if that is known (milliseconds since 1970). */
export interface Token {
  token: string;
  expiresAt?: number;
}

/** The token itself, or a function that gets one whenever it is needed. */
export type TokenSource = string | ((reason: TokenReason) => string | Token | Promise<string | Token>);

/** Least time between two renewals, so that a clock which is wrong does not make a flood of them. */
const LEAST_RENEWAL_MS = 1_000;

/**
 * Gets tokens and knows when the next one is due.
 *
 * @internal
 */
export class Credentials {
  readonly #source: TokenSource;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #expiresAt: number | undefined;

  constructor(source: TokenSource) {
    if (typeof source !== "function" && typeof source !== "string") {
      throw new TypeError("token must be a string or a function");
    }
    this.#source = source;
  }

  /** Whether asking again may give another token. */
  get renewable(): boolean {
    return typeof this.#source === "function";
  }

  async get(reason: TokenReason): Promise<string> {
    const given = typeof this.#source === "string" ? this.#source : await this.#source(reason);
    const { token, expiresAt } = typeof given === "string" ? { token: given, expiresAt: undefined } : given;
    if (typeof token !== "string" || token === "") throw new UsageError("the token source gave no token");
    this.#expiresAt = expiresAt ?? jwtExpiry(token);
    return token;
  }

  /** The server's word on when the token expires: a time since 1970, or from now if it is too small for that. */
  expires(ms: number | undefined, now = Date.now()): void {
    if (ms !== undefined) this.#expiresAt = ms > 1e11 ? ms : now + ms;
  }

  /** Calls `renew` when four fifths of the token's time have passed, a little earlier for some than for others. */
  schedule(renew: () => void): void {
    this.stop();
    if (!this.renewable || this.#expiresAt === undefined) return;
    const due = Date.now() + renewalMs(this.#expiresAt - Date.now());
    const arm = () => {
      const left = due - Date.now();
      if (left <= 0) return renew();
      this.#timer = setTimeout(arm, Math.min(left, LONGEST_TIMER_MS));
    };
    this.#timer = setTimeout(arm, Math.min(due - Date.now(), LONGEST_TIMER_MS));
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** @internal */
export function renewalMs(left: number, random = Math.random): number {
  return Math.max(LEAST_RENEWAL_MS, left * (0.7 + 0.1 * random()));
}

/**
 * `exp` of a token that is a JWT, in milliseconds since 1970. It is only read to know when to renew; whether the
 * token is good is the server's to say.
 *
 * @internal
 */
export function jwtExpiry(token: string): number | undefined {
  const parts = token.split(".");
  const claims = parts[1];
  if (parts.length !== 3 || claims === undefined) return undefined;
  try {
    const { exp } = JSON.parse(atob(claims.replaceAll("-", "+").replaceAll("_", "/"))) as { exp?: unknown };
    return typeof exp === "number" && Number.isFinite(exp) ? exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}
