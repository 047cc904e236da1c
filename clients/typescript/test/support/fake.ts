// A gateway that does what a test says: for what the real one must never do.

import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { decode, encode } from "@msgpack/msgpack";
import { type WebSocket, WebSocketServer } from "ws";
import { within } from "./within.js";

// biome-ignore lint/suspicious/noExplicitAny: a test looks at what came, whatever it is.
type Any = any;

/** One socket of a client, as the server sees it. */
export class Peer {
  readonly #socket: WebSocket;
  readonly #frames: Any[] = [];
  #wake: () => void = () => {};
  readonly closed: Promise<number>;
  s = 0;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data, isBinary) => {
      this.#frames.push(isBinary ? decode(data as Buffer) : JSON.parse(String(data)));
      this.#wake();
    });
    this.closed = once(socket, "close").then(([code]) => code as number);
  }

  get json(): boolean {
    return this.#socket.protocol === "npc.v1.json";
  }

  /** How many frames of the client nobody has looked at. */
  get unread(): number {
    return this.#frames.length;
  }

  /** The next frame of the client, heartbeats passed over, which must be of this kind. */
  async expect(op: string): Promise<Any> {
    for (;;) {
      const frame = this.#frames.shift();
      if (!frame) {
        await within(
          new Promise<void>((resolve) => {
            this.#wake = resolve;
          }),
          `waiting for ${op}`,
        );
      } else if (frame.op === op) {
        return frame;
      } else if (frame.op !== "heartbeat") {
        throw new Error(`expected ${op}, not ${JSON.stringify(frame)}`);
      }
    }
  }

  /** Sends a frame as it is. */
  raw(frame: unknown): void {
    this.#socket.send(this.json ? JSON.stringify(frame) : encode(frame));
  }

  bytes(data: string | Uint8Array): void {
    this.#socket.send(data);
  }

  /** Sends a frame with the next `s`. */
  send(op: string, d: object, cid?: unknown): void {
    this.s += 1;
    this.raw({ op, s: this.s, ...(cid === undefined ? {} : { cid }), d });
  }

  hello(d: object = {}): void {
    this.raw({
      op: "hello",
      d: {
        protocol: 1,
        server: "fake/0",
        engine: "model",
        heartbeat_ms: 600_000,
        identify_timeout_ms: 5000,
        max_frame_bytes: 65536,
        ...d,
      },
    });
  }

  ready(session = "s1", d: object = {}): void {
    this.s = 0;
    this.send("ready", {
      session,
      resume_token: `${session}-token`,
      epoch: "e1",
      player: "mina",
      scopes: ["play"],
      resume_window_ms: 60_000,
      limits: {},
      ...d,
    });
  }

  /** The handshake of a new session. */
  async identified(session = "s1", hello: object = {}): Promise<Any> {
    this.hello(hello);
    const identify = await this.expect("identify");
    this.ready(session);
    return identify;
  }

  /** Greets, and takes the `resume`; `s` goes on behind what the client has. */
  async resume(hello: object = {}): Promise<Any> {
    this.hello(hello);
    const resume = await this.expect("resume");
    this.s = resume.d.seq;
    return resume;
  }

  /** Answers a `resume` that has seen all but the frames that are sent before this. */
  resumed(replayed = 0, token = "next-token"): void {
    this.raw({ op: "resumed", d: { seq: this.s, replayed, resume_token: token } });
  }

  async joined(): Promise<Any> {
    const join = await this.expect("npc.join");
    const { npc, archetype = "vampire" } = join.d;
    const chain = { archetype, generic: true, tasks: {} };
    this.send("npc.joined", { npc: { id: npc, name: "Bram", archetype, seed: 1 }, chain }, join.cid);
    return join;
  }

  started(turn: string, cid?: unknown, player = "mina"): void {
    const d = { turn, npc: "bram", player, text: "?", generic: true, adapters: [] };
    this.send("turn.started", { ...d, prompt_tokens: 1, cached_tokens: 0 }, cid);
  }

  delta(turn: string, text: string, offset: number, t_ms = 0, player = "mina"): void {
    this.send("dialogue.delta", { turn, player, text, offset, t_ms, tokens: 1 });
  }

  done(turn: string, text: string, reason = "stop", cid?: unknown, player = "mina"): void {
    const usage = { prompt_tokens: 1, cached_tokens: 0, generated_tokens: 1 };
    const timing = { queue_ms: 0, ttft_ms: 0, total_ms: 0 };
    this.send("turn.done", { turn, player, npc: "bram", reason, text, fallback: false, usage, timing }, cid);
  }

  error(code: string, d: object = {}, cid?: unknown): void {
    this.send("error", { code, message: "why", temporary: false, ...d }, cid);
  }

  close(code: number, reason = ""): void {
    this.#socket.close(code, reason);
  }

  /** The network goes away. */
  cut(): void {
    this.#socket.terminate();
  }
}

/** A server whose sockets a test takes one after the other. */
export class FakeGateway {
  readonly #server: WebSocketServer;
  readonly #peers: Peer[] = [];
  #wake: () => void = () => {};
  #taken = 0;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
    server.on("connection", (socket) => {
      this.#peers.push(new Peer(socket));
      this.#wake();
    });
  }

  static async start(protocol?: string): Promise<FakeGateway> {
    const server = new WebSocketServer({
      host: "127.0.0.1",
      port: 0,
      handleProtocols: (offered) => protocol ?? [...offered][0] ?? false,
    });
    await once(server, "listening");
    return new FakeGateway(server);
  }

  /** Its address, also when it has stopped. */
  readonly url: string;

  /** Sockets that came so far. */
  get sockets(): number {
    return this.#peers.length;
  }

  /** The next socket. */
  async peer(): Promise<Peer> {
    this.#taken += 1;
    for (;;) {
      const peer = this.#peers[this.#taken - 1];
      if (peer) return peer;
      await within(
        new Promise<void>((resolve) => {
          this.#wake = resolve;
        }),
        "waiting for a socket",
      );
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
