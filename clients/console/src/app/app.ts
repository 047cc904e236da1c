import { FleetPage } from "../fleet/page.js";
import { TAB_NAMES } from "../inspect/panel.js";
import { Connection } from "../net/connection.js";
import { Cast } from "../talk/cast.js";
import { TalkPage } from "../talk/page.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, mark, put, say } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { Keys } from "../ui/keys.js";
import { choose, theme, themed } from "../ui/theme.js";
import { Toasts } from "../ui/toasts.js";
import { Door } from "./door.js";
import { help } from "./help.js";
import { NetworkBar } from "./network.js";

const FLEET = "#/fleet";

/** The page as a whole. */
export class App {
  readonly connection = new Connection();
  readonly cast = new Cast(this.connection);
  readonly #toasts = new Toasts();
  readonly #told = h("div", { class: "sr", "aria-live": "polite" });
  readonly #door = new Door(this.connection);
  readonly #network = new NetworkBar(this.connection);
  readonly #talk: TalkPage;
  readonly #fleet: FleetPage;
  readonly #keys: Keys;
  readonly #links: { talk: HTMLAnchorElement; fleet: HTMLAnchorElement };
  readonly #theme: HTMLButtonElement;

  constructor(root: HTMLElement) {
    // The server knows `/fleet` as well; from here on the hash alone says which page it is.
    if (location.pathname.endsWith("/fleet")) history.replaceState(null, "", `./${FLEET}`);
    const complain = (why: string) => this.#toasts.show(why);
    this.#talk = new TalkPage({ connection: this.connection, cast: this.cast, complain });
    this.#fleet = new FleetPage(this.connection, (why, kind) => this.#toasts.show(why, kind));
    this.#links = { talk: h("a", { href: "#/" }, "Talk"), fleet: h("a", { href: FLEET }, "Fleet") };
    this.#theme = bare("Light or dark (t)", () => this.#turn());
    const frames = bare("Frames (f)", () => this.#frames());
    put(frames, icon("frames"));
    const keys = bare("Keys (?)", () => this.#help());
    put(keys, icon("help"));
    put(
      root,
      h(
        "a",
        { class: "skip", href: "#main", on: { click: (event) => this.#skip(event) } },
        "Skip what is on top",
      ),
      h(
        "header",
        { class: "top" },
        h("span", { class: "mark" }, "npc-gateway"),
        h("nav", { "aria-label": "Pages" }, this.#links.talk, this.#links.fleet),
        this.#network.element,
        h("div", { class: "tools" }, frames, this.#theme, keys),
      ),
      this.#door.element,
      this.#talk.element,
      this.#fleet.element,
      this.#toasts.element,
      this.#told,
    );
    this.#keys = new Keys(this.#bindings());
    this.connection.problem.on(complain);
    this.cast.told.on((text) => say(this.#told, text));
    this.connection.link.on(() => this.#arrange());
    this.#door.element.hidden = true;
    this.#talk.element.hidden = true;
    themed.on(() => this.#showTheme());
    this.#showTheme();
    addEventListener("hashchange", () => this.#arrange());
  }

  /** Tries the door as it stands: in `dev` mode that is all it takes. */
  start(): void {
    this.#door.enter();
  }

  get #isFleet(): boolean {
    return location.hash.startsWith(FLEET);
  }

  #arrange(): void {
    const { state } = this.connection.link.value;
    // What is there stays until it is known what comes.
    if (state === "connecting") return;
    const isOut = state === "idle" || state === "closed";
    const isFleet = this.#isFleet;
    this.#door.element.hidden = !isOut;
    this.#talk.element.hidden = isOut || isFleet;
    this.#fleet.open(!isOut && isFleet);
    mark(this.#links.talk, "aria-current", isFleet ? undefined : "page");
    mark(this.#links.fleet, "aria-current", isFleet ? "page" : undefined);
    document.title = isFleet ? "Fleet · npc-gateway" : "npc-gateway";
  }

  #bindings() {
    const onTalk = (press: () => void) => () => {
      if (!this.#talk.element.hidden) press();
    };
    const select = () => {
      const character = this.cast.all[Number(this.#keys.pressed) - 1];
      if (!character) return;
      this.cast.selected.set(character);
      this.#talk.write();
    };
    const tab = (key: string, name: string) => ({
      key,
      what: `the tab ${name}`,
      press: onTalk(() => this.#talk.openTab(name)),
    });
    return [
      { key: "/", what: "write a line", press: onTalk(() => this.#talk.write()) },
      { key: "Escape", what: "cut off what is being said", press: onTalk(() => this.#talk.cancel()) },
      { key: "n", what: "another character", press: onTalk(() => this.#talk.invite()) },
      { key: "1–8", what: "a character, from the left", press: onTalk(select) },
      { key: "p", what: "play the line again", press: onTalk(() => this.cast.selected.value?.replay()) },
      ...TAB_NAMES.map((name) =>
        tab({ Mix: "x", Scene: "s", Who: "w", Bond: "o", Memory: "m" }[name] ?? "", name),
      ),
      { key: "f", what: "frames", press: onTalk(() => this.#frames()) },
      { key: "b", what: "lose the socket for a moment", press: () => this.connection.blip() },
      { key: "d", what: "lose the network", press: () => this.#network.drop() },
      { key: "r", what: "bring it back", press: () => this.#network.resume() },
      { key: "g", what: "from one page to the other", press: () => this.#go() },
      { key: "t", what: "light or dark", press: () => this.#turn() },
      { key: "?", what: "these keys", press: () => this.#help() },
    ];
  }

  #skip(event: Event): void {
    // The hash says which page it is.
    event.preventDefault();
    document.querySelector<HTMLElement>("main:not([hidden]), .door:not([hidden])")?.focus();
  }

  #go(): void {
    location.hash = this.#isFleet ? "#/" : FLEET;
  }

  #frames(): void {
    if (!this.#talk.element.hidden) this.#talk.frames.toggle();
  }

  #turn(): void {
    choose(theme() === "dark" ? "light" : "dark");
  }

  #showTheme(): void {
    fill(this.#theme, icon(theme() === "dark" ? "sun" : "moon"));
  }

  #help(): void {
    openDialog("Keys", help(this.#keys));
  }
}

function bare(label: string, click: () => void): HTMLButtonElement {
  return h("button", { type: "button", class: "bare", "aria-label": label, title: label, on: { click } });
}
