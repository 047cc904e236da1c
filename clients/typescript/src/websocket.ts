import { ConnectError } from "./errors.js";

/** The part of a WebSocket that this client uses; browsers', Node's own and `ws` have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  readonly bufferedAmount?: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
}

/** A WebSocket class. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;

/**
 * The WebSocket to use: the given one, the platform's (browsers, Node from 22 on), or the package `ws`.
 *
 * @internal
 */
export async function webSocketClass(given: WebSocketClass | undefined): Promise<WebSocketClass> {
  if (given) return given;
  const own = (globalThis as { WebSocket?: unknown }).WebSocket;
  if (typeof own === "function") return own as WebSocketClass;
  // Not a literal, so that a bundler for browsers does not look for it.
  const name = "ws";
  try {
    const module: { WebSocket: WebSocketClass } = await import(
      /* @vite-ignore */ /* webpackIgnore: true */ name
    );
    return module.WebSocket;
  } catch (cause) {
    throw new ConnectError(
      "there is no WebSocket here: use Node 22 or newer, install the package `ws`, or pass the option `WebSocket`",
      { cause },
    );
  }
}
