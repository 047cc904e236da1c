import type { Connection, Link } from "../net/connection.js";
import { fill, h, mark, say, uid } from "../ui/dom.js";
import { icon } from "../ui/icons.js";

const LAGS = [0, 100, 300, 1000, 3000];

/** How the connection is, and what can be done to it. */
export class NetworkBar {
  readonly element: HTMLElement;
  readonly #connection: Connection;
  readonly #state = h("span", { class: "link-state" });
  readonly #pill: HTMLElement;
  readonly #drop: HTMLButtonElement;
  readonly #blip: HTMLButtonElement;
  readonly #resume: HTMLButtonElement;
  readonly #leave: HTMLButtonElement;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#pill = h("p", { class: "pill", role: "status" }, this.#state);
    this.#blip = tool("blip", "Blip", "Lose the socket for a moment (b)", () => connection.blip());
    this.#drop = tool("cut", "Drop", "Lose the network until Resume (d)", () => this.drop());
    this.#resume = tool("net", "Resume", "Bring the network back (r)", () => this.resume());
    this.#leave = tool("close", "Leave", "End the session", () => connection.close());
    const id = uid("lag");
    const lag = h(
      "select",
      { id, on: { change: () => this.#slow(Number(lag.value)) } },
      ...LAGS.map((ms) =>
        h("option", { value: ms }, ms === 0 ? "none" : ms < 1000 ? `${ms} ms` : `${ms / 1000} s`),
      ),
    );
    this.element = h(
      "div",
      { class: "network", role: "group", "aria-label": "Network" },
      this.#pill,
      this.#blip,
      this.#drop,
      this.#resume,
      h("label", { class: "lag", for: id }, "Lag", lag),
      this.#leave,
    );
    connection.link.follow((link) => this.#show(link));
  }

  drop(): void {
    if (!this.#connection.session) return;
    this.#connection.drop();
    this.#show(this.#connection.link.value);
  }

  resume(): void {
    if (!this.#connection.session) return;
    this.#connection.restore();
  }

  #slow(ms: number): void {
    this.#connection.network.lagMs = ms;
  }

  #show(link: Link): void {
    const { session } = this.#connection;
    const isOpen = link.state === "open";
    mark(this.#pill, "data-state", link.state);
    say(this.#state, told(link, session?.player, session?.hello.engine));
    this.element.hidden = link.state === "idle" || link.state === "closed";
    fill(this.#pill, h("span", { class: "dot" }), this.#state);
    this.#drop.disabled = !isOpen;
    this.#blip.disabled = !isOpen;
    this.#resume.disabled = link.state !== "lost";
  }
}

function told(link: Link, player: string | undefined, engine: string | undefined): string {
  switch (link.state) {
    case "idle":
      return "not connected";
    case "connecting":
      return "connecting";
    case "open": {
      const script = engine === "scripted" ? ", scripted" : "";
      return link.resumed ? `resumed as ${player}${script}` : `${player}${script}`;
    }
    case "lost":
      return link.down ? "network away" : `coming back, attempt ${link.attempt}`;
    case "closed":
      return "closed";
  }
}

function tool(
  name: Parameters<typeof icon>[0],
  label: string,
  title: string,
  click: () => void,
): HTMLButtonElement {
  return h("button", { type: "button", class: "small", title, on: { click } }, icon(name), label);
}
