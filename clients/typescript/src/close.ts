/**
 * What the client does after the socket was closed: `resume` the session, `identify` for a new one, show a new
 * `token`, or `stop`. `wait` says to stay away longer than after a lost network.
 */
export interface CloseRule {
  readonly name: string;
  readonly then: "resume" | "identify" | "token" | "stop";
  readonly wait: boolean;
}

const rule = (name: string, then: CloseRule["then"], wait = false): CloseRule => ({ name, then, wait });

/** The close codes of the protocol, and what each asks of a client. */
export const CLOSE_CODES: Readonly<Record<number, CloseRule>> = {
  4000: rule("internal", "resume"),
  // Everyone is told at once, so everyone waits a while of their own.
  4001: rule("draining", "identify", true),
  4002: rule("slow_consumer", "resume"),
  4003: rule("heartbeat_timeout", "resume"),
  4004: rule("rate_limited", "resume", true),
  4005: rule("session_limit", "identify", true),
  4006: rule("idle", "resume"),
  4500: rule("bad_frame", "stop"),
  4501: rule("unsupported_protocol", "stop"),
  4502: rule("unauthenticated", "token"),
  4503: rule("forbidden", "stop"),
  4504: rule("frame_too_large", "stop"),
  4505: rule("session_replaced", "stop"),
  4506: rule("identify_timeout", "stop"),
};

/** Codes of RFC 6455 that blame what the client sent, or what it wants. */
const OUR_FAULT: readonly number[] = [1003, 1007, 1009, 1010];

/**
 * The rule of any close code. Codes that the protocol does not list follow its ranges: 4000 to 4499 come back,
 * 4500 to 4999 do not, nor do those of RFC 6455 that blame the client; all others are a lost network.
 */
export function closeRule(code: number): CloseRule {
  const known = CLOSE_CODES[code];
  if (known) return known;
  if ((code >= 4500 && code <= 4999) || OUR_FAULT.includes(code)) return rule("", "stop");
  if (code >= 4000 && code <= 4499) return rule("", "resume", true);
  return rule("", "resume");
}
