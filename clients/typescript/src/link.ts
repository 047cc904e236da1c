import type { Codec } from "./codec.js";
import { ProtocolError } from "./errors.js";
import type { ClientFrame, RawFrame } from "./frames.js";
import { MAX_MESSAGE, MAX_UNSENT } from "./limits.js";
import type { WebSocketClass, WebSocketLike } from "./websocket.js";

/** How a socket ended. 1006 without a word from the server is a network that went away. */
export interface LinkEnd {
  code: number;
  reason: string;
  /** What the server sent that it must not. */
  violation?: ProtocolError;
}

/** The code with which the client closes a socket that it gives up; browsers allow no smaller one but 1000. */
const GIVEN_UP = 3000;
/** How long an error waits for the close that should follow it. */
const CLOSE_FOLLOWS_MS = 100;

/**
 * One socket, from opening to its end, which is told exactly once.
 *
 * @internal
 */
export class Link {
  readonly #socket: WebSocketLike;
  readonly #codec: Codec;
  readonly #frame: (frame: RawFrame, size: number) => void;
  readonly #ended: (end: LinkEnd) => void;
  #failure: ReturnType<typeof setTimeout> | undefined;
  #open = false;
  #over = false;

  constructor(
    WebSocket: WebSocketClass,
    url: string,
    codec: Codec,
    frame: (frame: RawFrame, size: number) => void,
    ended: (end: LinkEnd) => void,
  ) {
    this.#codec = codec;
    this.#frame = frame;
    this.#ended = ended;
    const socket = new WebSocket(url, [codec.subprotocol]);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (this.#over) return this.#close(1000, "");
      if (socket.protocol !== codec.subprotocol) {
        this.violate(new ProtocolError(`the server chose the subprotocol "${socket.protocol}"`));
        return;
      }
      this.#open = true;
    };
    socket.onmessage = (event: { data: unknown }) => this.#message(event.data);
    socket.onclose = (event: { code: number; reason: string }) => {
      this.#end({ code: event.code, reason: event.reason });
    };
    socket.onerror = (event: { message?: unknown }) => this.#failed(event.message);
  }

  /** Sends an encoded frame, if the socket is still there. */
  send(frame: ClientFrame): void {
    if (!this.#open || this.#over) return;
    if ((this.#socket.bufferedAmount ?? 0) > MAX_UNSENT) {
      this.drop(1006, "the network takes nothing any more");
      return;
    }
    try {
      this.#socket.send(this.#codec.encode(frame));
    } catch {
      // The socket is closing; its end is told by `onclose`, and what matters is sent again then.
    }
  }

  /** Ends it now, without waiting for a peer that may be gone. */
  drop(code: number, reason: string): void {
    if (this.#over) return;
    this.#close(code === 1000 ? 1000 : GIVEN_UP, reason);
    this.#end({ code, reason });
  }

  /** The server broke the protocol. */
  violate(violation: ProtocolError): void {
    if (this.#over) return;
    this.#close(GIVEN_UP, violation.message);
    this.#end({ code: GIVEN_UP, reason: violation.message, violation });
  }

  /** `onclose` follows and says more, but not with every WebSocket: Node 20's own forgets it. */
  #failed(message: unknown): void {
    if (this.#over) return;
    this.#failure = setTimeout(() => {
      this.#end({ code: 1006, reason: typeof message === "string" ? message : "" });
    }, CLOSE_FOLLOWS_MS);
  }

  #message(data: unknown): void {
    if (this.#over) return;
    const message = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
    const size = typeof message === "string" || message instanceof Uint8Array ? message.length : 0;
    let frame: RawFrame;
    try {
      if (size > MAX_MESSAGE)
        throw new ProtocolError(`a message of ${size}; the largest one taken is ${MAX_MESSAGE}`);
      frame = this.#codec.decode(message);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.violate(error);
      return;
    }
    this.#frame(frame, size);
  }

  #close(code: number, reason: string): void {
    try {
      // A close reason has room for 123 bytes.
      this.#socket.close(code, reason.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, 120));
    } catch {
      // It was never open, or is closed.
    }
  }

  #end(end: LinkEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#open = false;
    clearTimeout(this.#failure);
    this.#ended(end);
  }
}
