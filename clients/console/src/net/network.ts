import type { WebSocketClass, WebSocketLike } from "npc-gateway-client";

/** Frames that wait for a slow network at most, in each direction. */
const MAX_WAITING = 4096;
/** How a network that is away looks to a client. */
const AWAY = { code: 1006, reason: "the network is away" };

type Message = string | Uint8Array<ArrayBuffer>;

/**
 * A network between the page and its gateway that can be made worse: slow, or gone.
 *
 * `Socket` is what the client opens; it is the browser's own WebSocket behind this network.
 */
export class Network {
  /** Added to every message, each way, in milliseconds. */
  lagMs = 0;
  #down = false;
  readonly #sockets = new Set<TrickSocket>();
  /** A message, as it is on the wire: what the page sent, or what came through to it. */
  passed: (way: "in" | "out", message: Message | ArrayBuffer) => void = () => {};

  /** The class that the client is given. */
  readonly Socket: WebSocketClass;

  constructor() {
    const network = this;
    this.Socket = class extends TrickSocket {
      constructor(url: string, protocols: string[]) {
        super(network, url, protocols);
      }
    };
  }

  get down(): boolean {
    return this.#down;
  }

  /** Loses every socket, without a word that says why. */
  cut(): void {
    for (const socket of [...this.#sockets]) socket.lose();
  }

  /** Loses every socket, and lets no new one through until `restore`. */
  drop(): void {
    this.#down = true;
    this.cut();
  }

  restore(): void {
    this.#down = false;
  }

  /** @internal */
  add(socket: TrickSocket): void {
    this.#sockets.add(socket);
  }

  /** @internal */
  remove(socket: TrickSocket): void {
    this.#sockets.delete(socket);
  }
}

/** Messages on their way, which arrive in order. */
class Pipe {
  readonly #network: Network;
  readonly #waiting: { due: number; deliver(): void }[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(network: Network) {
    this.#network = network;
  }

  /** Delivers at once, or later if the network is slow. `false`: too much waits. */
  push(deliver: () => void): boolean {
    const { lagMs } = this.#network;
    if (lagMs === 0 && this.#waiting.length === 0) {
      deliver();
      return true;
    }
    if (this.#waiting.length >= MAX_WAITING) return false;
    this.#waiting.push({ due: performance.now() + lagMs, deliver });
    this.#arm();
    return true;
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting.length = 0;
  }

  #arm(): void {
    const first = this.#waiting[0];
    if (!first || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => this.#due(), Math.max(0, first.due - performance.now()));
  }

  #due(): void {
    this.#timer = undefined;
    for (let first = this.#waiting[0]; first && first.due <= performance.now(); first = this.#waiting[0]) {
      this.#waiting.shift();
      first.deliver();
    }
    this.#arm();
  }
}

/** One socket on a network that may be lost. */
class TrickSocket implements WebSocketLike {
  binaryType = "arraybuffer";
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  readonly #network: Network;
  readonly #in: Pipe;
  readonly #out: Pipe;
  #socket: WebSocket | undefined;
  #over = false;

  constructor(network: Network, url: string, protocols: string[]) {
    this.#network = network;
    this.#in = new Pipe(network);
    this.#out = new Pipe(network);
    network.add(this);
    if (network.down) {
      setTimeout(() => this.lose());
      return;
    }
    const socket = new WebSocket(url, protocols);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#arrive(() => this.onopen?.({} as never));
    socket.onmessage = ({ data }) =>
      this.#arrive(() => {
        network.passed("in", data);
        this.onmessage?.({ data } as never);
      });
    // What came before the end arrives before it.
    socket.onclose = ({ code, reason }) => this.#arrive(() => this.#end({ code, reason }));
    socket.onerror = () => this.#arrive(() => this.onerror?.({} as never));
  }

  get protocol(): string {
    return this.#socket?.protocol ?? "";
  }

  get bufferedAmount(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  send(message: Message): void {
    this.#network.passed("out", message);
    const socket = this.#socket;
    if (!socket || this.#over) return;
    if (!this.#out.push(() => this.#write(socket, message))) this.lose();
  }

  close(code?: number, reason?: string): void {
    this.#socket?.close(code, reason);
  }

  /** The network goes away under it: nothing that is on its way arrives. */
  lose(): void {
    if (this.#over) return;
    this.#in.clear();
    this.#out.clear();
    // The nearest that a page has to a lost network: a code that the gateway takes for no farewell.
    this.#socket?.close(3000, "");
    this.#end(AWAY);
  }

  #write(socket: WebSocket, message: Message): void {
    if (!this.#over && socket.readyState === WebSocket.OPEN) socket.send(message);
  }

  #arrive(deliver: () => void): void {
    if (this.#over) return;
    const here = () => {
      if (!this.#over) deliver();
    };
    if (!this.#in.push(here)) this.lose();
  }

  #end(end: { code: number; reason: string }): void {
    this.#over = true;
    this.#network.remove(this);
    this.onclose?.(end as never);
  }
}
