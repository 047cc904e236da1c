// A network between a client and the gateway: TCP that can be cut at any byte.

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export class Network {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #left: number | undefined;
  /** The port behind it. */
  target: number;
  /** How often it was cut. */
  cuts = 0;
  /** While true, new connections are dropped at once. */
  down = false;

  private constructor(target: number) {
    this.target = target;
    this.#server = createServer((near) => this.#carry(near));
  }

  static async open(target: number): Promise<Network> {
    const network = new Network(target);
    network.#server.listen(0, "127.0.0.1");
    await once(network.#server, "listening");
    return network;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The gateway's address through this network. */
  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  /** Cuts it when the gateway has sent so many more bytes, wherever in a frame that is. */
  cutAfter(bytes: number): void {
    this.#left = bytes;
  }

  /** Cuts it now: no word to either side. */
  cut(): void {
    this.cuts += 1;
    this.#left = undefined;
    for (const socket of this.#sockets) socket.resetAndDestroy();
    this.#sockets.clear();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #carry(near: Socket): void {
    if (this.down) {
      near.resetAndDestroy();
      return;
    }
    const far = connect(this.target, "127.0.0.1");
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.setNoDelay();
      socket.on("close", () => this.#sockets.delete(socket));
      // A connection that is reset is what this is for.
      socket.on("error", () => {});
    }
    near.on("close", () => far.destroy());
    far.on("close", () => near.end());
    near.pipe(far);
    far.on("data", (data: Buffer) => this.#down(near, far, data));
  }

  /** From the gateway to the client. */
  #down(near: Socket, far: Socket, data: Buffer): void {
    if (this.#left === undefined || data.length < this.#left) {
      if (this.#left !== undefined) this.#left -= data.length;
      near.write(data);
      return;
    }
    // An end and not a reset: what is written last must reach the client, or the cut would be between two frames.
    near.end(data.subarray(0, this.#left));
    far.removeAllListeners("data").destroy();
    this.#left = undefined;
    this.cuts += 1;
  }
}
