import { type BackoffOptions, backoff } from "./backoff.js";
import { codec, type Encoding } from "./codec.js";
import { Credentials, type TokenSource } from "./credentials.js";
import { SessionClosedError } from "./errors.js";
import { Session } from "./session.js";
import { type WebSocketClass, webSocketClass } from "./websocket.js";

/** Name and version that the client gives itself when the game gives none. */
const CLIENT = { name: "npc-gateway-client-ts", version: "0.1.0" };

export interface ConnectOptions {
  /** Where the gateway is: `ws://`, `wss://`, `http://` or `https://`; without a path, `/ws`. */
  url: string;
  /** The player's token, or a function that gets one: before each new session and before the old one expires. */
  token: TokenSource;
  /** How frames are written. Default "msgpack". */
  encoding?: Encoding;
  /** Name and version of the game, at most 64 characters each. */
  client?: { name: string; version: string };
  /** How long to stay away after a lost socket. */
  reconnect?: BackoffOptions;
  /** Attempts for the first session, at least 1. Default 1: an address that is wrong is told at once. */
  connectAttempts?: number;
  /** Longest silence while a session is opened or resumed, in milliseconds. Default 10000. */
  connectTimeoutMs?: number;
  /** Ends the session, or the attempt to get one. */
  signal?: AbortSignal;
  /** The WebSocket to use. Default: the platform's, or the package `ws`. */
  WebSocket?: WebSocketClass;
}

/**
 * Opens a session and keeps it: after a lost socket it comes back by itself and goes on where it was.
 *
 * Rejects with a `ConnectError` if there is no gateway, a `ClosedError` if it does not want this client.
 */
export async function connect(options: ConnectOptions): Promise<Session> {
  const {
    encoding = "msgpack",
    client = CLIENT,
    connectAttempts = 1,
    connectTimeoutMs = 10_000,
    signal,
  } = options;
  if (!(connectAttempts >= 1))
    throw new TypeError(`connectAttempts must be at least 1, not ${connectAttempts}`);
  if (!(connectTimeoutMs > 0)) throw new TypeError(`connectTimeoutMs must be above 0, not ${connectTimeoutMs}`);
  const transport = {
    url: socketUrl(options.url),
    codec: codec(encoding),
    credentials: new Credentials(options.token),
    client,
    backoff: backoff(options.reconnect),
    connectAttempts,
    connectTimeoutMs,
    WebSocket: await webSocketClass(options.WebSocket),
  };
  if (signal?.aborted) throw new SessionClosedError({ cause: signal.reason });
  const session = new Session(transport, encoding);
  const abort = () => session.close();
  signal?.addEventListener("abort", abort, { once: true });
  const closed = session.closed.finally(() => signal?.removeEventListener("abort", abort));
  return await new Promise((resolve, reject) => {
    const off = session.on("state", (change) => {
      if (change.state !== "open") return;
      off();
      resolve(session);
    });
    void closed.then((error) => reject(error ?? new SessionClosedError({ cause: signal?.reason })));
  });
}

/** @internal */
export function socketUrl(given: string): string {
  let url: URL;
  try {
    url = new URL(given);
  } catch {
    throw new TypeError(`url is not a URL: ${given}`);
  }
  if (url.protocol === "http:") url.protocol = "ws:";
  if (url.protocol === "https:") url.protocol = "wss:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new TypeError(`url must begin with ws, wss, http or https: ${given}`);
  }
  if (url.pathname === "" || url.pathname === "/") url.pathname = "/ws";
  url.hash = "";
  return url.href;
}
