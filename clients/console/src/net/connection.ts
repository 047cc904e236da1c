import {
  ClosedError,
  codec,
  connect,
  type Encoding,
  type NpcGatewayError,
  type RawFrame,
  type Session,
} from "npc-gateway-client";
import { loop } from "../ui/loop.js";
import { Signal, State } from "../ui/signal.js";
import { Api, home } from "./api.js";
import { FrameLog } from "./log.js";
import { Network } from "./network.js";

/** The page as the gateway's client. */
const CLIENT = { name: "console", version: "1" };
/** Short, so that what a person does to the network shows at once. */
const RECONNECT = { initialMs: 250, maxMs: 2_000, waitMs: 1_000 };
/** The gateway does not want the token. */
const UNAUTHENTICATED = 4502;

export type Link =
  | { state: "idle" }
  | { state: "connecting" }
  | { state: "open"; resumed: boolean }
  | { state: "lost"; attempt: number; down: boolean }
  /** Over; `token`: because who asked was not known. */
  | { state: "closed"; why: string; token: boolean };

/** Who is at the page: in `dev` mode a name, in `jwt` mode a token. */
export type Who = { player: string } | { token: string };

/** The page's session, and what it needs to have one. */
export class Connection {
  readonly network = new Network();
  readonly api = new Api();
  readonly log = new FrameLog((message) =>
    codec(typeof message === "string" ? "json" : "msgpack").decode(message),
  );
  readonly link = new State<Link>({ state: "idle" });
  /** A frame of the session: each once, in order. */
  readonly frame = new Signal<RawFrame>();
  /** Something went wrong that is to be told. */
  readonly problem = new Signal<string>();
  encoding: Encoding = "msgpack";
  #session: Session | undefined;
  #attempt = 0;

  constructor() {
    this.network.passed = (way, message) => {
      if (way === "in") loop.came();
      this.log.add(way, message);
    };
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Whether the gateway lets this session ask what operators ask. */
  get isAdmin(): boolean {
    return this.#session?.ready.scopes.includes("admin") ?? false;
  }

  /** Opens a session, in the place of the one that was there. */
  async open(who: Who): Promise<void> {
    this.close();
    const mine = this.#attempt;
    this.link.set({ state: "connecting" });
    this.network.restore();
    try {
      const session = await connect({
        url: new URL("ws", home()).href,
        token: "token" in who ? who.token : who.player,
        encoding: this.encoding,
        client: CLIENT,
        reconnect: RECONNECT,
        WebSocket: this.network.Socket,
      });
      if (mine !== this.#attempt) {
        session.close();
        return;
      }
      this.api.token = "token" in who ? who.token : undefined;
      this.#attend(session);
    } catch (error) {
      if (mine === this.#attempt) this.#over(error as NpcGatewayError);
    }
  }

  /** Ends the session, and forgets the token. */
  close(): void {
    this.#attempt += 1;
    const session = this.#session;
    this.#session = undefined;
    this.api.token = undefined;
    session?.close();
    this.link.set({ state: "idle" });
  }

  /** The socket is lost, and the client comes back by itself. */
  blip(): void {
    this.network.cut();
  }

  /** The socket is lost, and the network stays away. */
  drop(): void {
    this.network.drop();
  }

  /** The network is back. */
  restore(): void {
    this.network.restore();
    this.#session?.reconnectNow();
  }

  #attend(session: Session): void {
    this.#session = session;
    const isCurrent = () => this.#session === session;
    session.on("frame", (frame) => {
      if (isCurrent()) this.frame.emit(frame);
    });
    session.on("problem", (error) => this.problem.emit(error.message));
    session.on("reset", ({ reason }) => this.problem.emit(`A new session: the old one is gone (${reason}).`));
    session.on("state", (change) => {
      if (!isCurrent()) return;
      if (change.state === "open") this.link.set({ state: "open", resumed: change.resumed });
      else if (change.state === "reconnecting")
        this.link.set({ state: "lost", attempt: change.attempt, down: this.network.down });
      else if (change.error) this.#over(change.error);
    });
    this.link.set({ state: "open", resumed: false });
  }

  #over(error: NpcGatewayError): void {
    this.#session = undefined;
    this.api.token = undefined;
    const token = error instanceof ClosedError && error.code === UNAUTHENTICATED;
    this.link.set({ state: "closed", why: error.message, token });
  }
}
