import type { NpcJoin } from "npc-gateway-client";
import { FramesPanel } from "../frames/panel.js";
import { Inspector, TAB_NAMES } from "../inspect/panel.js";
import type { Connection } from "../net/connection.js";
import type { Proposal, TurnRecord } from "../turn/record.js";
import { openDialog } from "../ui/dialog.js";
import { fill, h, mark } from "../ui/dom.js";
import { icon } from "../ui/icons.js";
import { type Cast, MAX_CHARACTERS, reasonOf } from "./cast.js";
import type { Character } from "./character.js";
import { BUILT_IN, Gallery, type Kind } from "./gallery.js";
import { Stage } from "./stage.js";

/** Characters of a line, where the gateway does not say. */
const USUAL_CHARS = 2000;

export interface TalkHost {
  connection: Connection;
  cast: Cast;
  complain(why: string): void;
}

/** The page on which one talks: stages side by side, what is known of one of them, and the raw frames. */
export class TalkPage {
  readonly element: HTMLElement;
  readonly inspector: Inspector;
  readonly frames: FramesPanel;
  readonly #host: TalkHost;
  readonly #stages = new Map<Character, Stage>();
  readonly #grid = h("div", { class: "stages" });
  readonly #welcome = h("section", { class: "welcome", "aria-label": "Choose whom to talk to" });
  readonly #add: HTMLButtonElement;
  #gallery: Gallery | undefined;
  #kinds: readonly Kind[] = BUILT_IN;

  constructor(host: TalkHost) {
    this.#host = host;
    const { cast, connection } = host;
    this.inspector = new Inspector(host);
    this.frames = new FramesPanel(connection, host);
    this.#add = h(
      "button",
      { type: "button", class: "add", hidden: true, on: { click: () => this.invite() } },
      icon("plus"),
      "Another one",
    );
    this.element = h(
      "main",
      { class: "talk", tabindex: "-1" },
      h("div", { class: "floor" }, this.#welcome, this.#grid, this.#add),
      this.inspector.element,
      this.frames.element,
    );
    cast.changed.on(() => this.#arrange());
    cast.selected.on((character) => this.#select(character));
    connection.link.on(({ state }) => {
      if (state === "open") void this.#learn();
      if (state === "open" || state === "closed" || state === "idle") this.#arrange();
    });
    this.#arrange();
  }

  /** Opens the faces to choose another NPC from. */
  invite(): void {
    if (!this.#host.connection.session) return;
    const gallery = new Gallery(this.#kinds, {
      join: async (request) => {
        if (!(await this.#join(request))) return;
        dialog.close();
        // A dialog gives the focus back to where it was.
        this.write();
      },
    });
    const dialog = openDialog("Who comes in?", gallery.element, () => gallery.close());
    gallery.focus();
  }

  /** Puts the cursor where a line is written. */
  write(): void {
    const { value } = this.#host.cast.selected;
    if (value) this.#stages.get(value)?.focus();
  }

  cancel(character = this.#host.cast.selected.value): void {
    if (!character?.isBusy(performance.now())) return;
    this.#host.cast.cancel(character).catch((error) => this.#host.complain(reasonOf(error)));
  }

  openTab(name: string): void {
    this.inspector.open(Math.max(0, TAB_NAMES.indexOf(name)));
  }

  /** Which archetypes there are. */
  async #learn(): Promise<void> {
    const { connection } = this.#host;
    if (!connection.isAdmin) return;
    try {
      const { items } = await connection.api.archetypes();
      const known = BUILT_IN.map(({ name }) => name);
      const place = (name: string) => (known.indexOf(name) + known.length + 1) % (known.length + 1);
      const kinds = items.map(({ name, title }) => ({ name, title }));
      kinds.sort((a, b) => place(a.name) - place(b.name));
      if (kinds.length > 0 && JSON.stringify(kinds) !== JSON.stringify(this.#kinds)) {
        this.#kinds = kinds;
        this.#closeGallery();
        this.#arrange();
      }
    } catch {
      // Those that come with the gateway will do.
    }
  }

  async #join(request: NpcJoin): Promise<boolean> {
    try {
      await this.#host.cast.join(request);
      this.write();
      return true;
    } catch (error) {
      this.#host.complain(reasonOf(error));
      return false;
    }
  }

  #arrange(): void {
    const { cast, connection } = this.#host;
    const all = cast.all;
    for (const [character, stage] of this.#stages) {
      if (all.includes(character)) continue;
      stage.close();
      stage.element.remove();
      this.#stages.delete(character);
    }
    for (const character of all) {
      if (this.#stages.has(character)) continue;
      const stage = this.#stage(character);
      this.#stages.set(character, stage);
      this.#grid.append(stage.element);
    }
    this.#grid.dataset["count"] = String(all.length);
    this.#add.hidden = all.length === 0 || all.length >= MAX_CHARACTERS;
    const isWelcome = all.length === 0 && connection.session !== undefined;
    this.#welcome.hidden = !isWelcome;
    this.#grid.hidden = all.length === 0;
    if (isWelcome && !this.#gallery) {
      this.#gallery = new Gallery(this.#kinds, { join: async (request) => void (await this.#join(request)) });
      fill(
        this.#welcome,
        h("h1", {}, "Who do you want to talk to?"),
        h("p", { class: "lead" }, "Each of them has a face, a memory, and an opinion of you."),
        this.#gallery.element,
      );
    }
    if (!isWelcome) this.#closeGallery();
  }

  #closeGallery(): void {
    this.#gallery?.close();
    this.#gallery = undefined;
    this.#welcome.replaceChildren();
  }

  #stage(character: Character): Stage {
    const { cast, connection, complain } = this.#host;
    return new Stage(character, {
      select: () => cast.selected.set(character),
      leave: () => cast.leave(character),
      say: (text) => cast.say(character, text),
      cancel: () => this.cancel(character),
      complain,
      maxChars: () => connection.session?.ready.limits["max_text_chars"] ?? USUAL_CHARS,
      choose: (record) => character.choose(record),
      result: (record, proposal, ok) => void this.#report(character, record, proposal, ok),
      player: () => connection.session?.player ?? "",
    });
  }

  async #report(character: Character, record: TurnRecord, proposal: Proposal, ok: boolean): Promise<void> {
    try {
      await character.npc.actionResult({ turn: record.id, action: proposal.action, ok });
      proposal.result = ok ? "done" : "failed";
      record.version += 1;
      character.touch();
      this.#host.cast.stored.emit(character);
    } catch (error) {
      this.#host.complain(reasonOf(error));
    }
  }

  #select(character: Character | undefined): void {
    for (const [each, { element }] of this.#stages)
      mark(element, "data-selected", each === character ? "" : undefined);
  }
}
