import type { HistoryItem } from "../net/answers.js";
import { reasonOf } from "../talk/cast.js";
import type { Character } from "../talk/character.js";
import { fill, h, say } from "../ui/dom.js";
import { ago, short } from "../ui/format.js";
import { icon } from "../ui/icons.js";
import { mayHear, memoryCard } from "./remembered.js";
import type { Desk, Tab } from "./tab.js";

/** Items of a page, and at most on the page. */
const PAGE = 50;
const MOST = 500;

/** What happened with the NPC, what of it came to mind, and what it keeps to itself. */
export class MemoryTab implements Tab {
  readonly element: HTMLElement;
  readonly #character: Character;
  readonly #desk: Desk;
  readonly #items = new Map<string, HistoryItem>();
  readonly #mind = h("ul", { class: "memories" });
  readonly #told = h("ol", { class: "memories" });
  readonly #kept = h("ol", { class: "memories" });
  readonly #keptNote = h("p", { class: "hint" });
  readonly #status = h("p", { class: "hint", role: "status" });
  readonly #more: HTMLButtonElement;
  readonly #off: () => void;
  #next: string | undefined;
  #loading = false;
  #again = false;

  constructor(character: Character, desk: Desk) {
    this.#character = character;
    this.#desk = desk;
    this.#more = h(
      "button",
      { type: "button", class: "small", hidden: true, on: { click: () => void this.#load(this.#next) } },
      "Older",
    );
    const refresh = h(
      "button",
      { type: "button", class: "small", on: { click: () => void this.#load() } },
      icon("back"),
      "Look again",
    );
    this.element = h(
      "div",
      { class: "tab-body" },
      h("div", { class: "row" }, h("h3", {}, "What came to mind"), refresh),
      this.#mind,
      h("h3", {}, "What it may not tell you"),
      this.#keptNote,
      this.#kept,
      h("h3", {}, "What happened, newest first"),
      this.#status,
      this.#told,
      this.#more,
    );
    this.#off = desk.cast.stored.on((stored) => {
      if (stored === character) void this.#load();
    });
    void this.#load();
  }

  update(): void {}

  close(): void {
    this.#off();
  }

  async #load(before?: string): Promise<void> {
    const { connection } = this.#desk;
    if (!connection.isAdmin) {
      say(this.#status, "Your token does not have the scope admin, which the history needs.");
      return;
    }
    if (this.#loading) {
      this.#again = true;
      return;
    }
    this.#loading = true;
    try {
      const page = await connection.api.history(this.#character.id, PAGE, before);
      for (const item of page.items) this.#items.set(item.id, item);
      if (before !== undefined || this.#next === undefined) this.#next = page.next;
      await this.#resolve();
      this.#show();
    } catch (error) {
      say(this.#status, `The history cannot be read: ${reasonOf(error)}`);
    } finally {
      this.#loading = false;
      if (this.#again) {
        this.#again = false;
        void this.#load();
      }
    }
  }

  /** What came to mind in the last line may lie behind the first pages. */
  async #resolve(): Promise<void> {
    const wanted = this.#last()?.recalled.filter((id) => !this.#items.has(id)) ?? [];
    for (const id of wanted.slice(0, 8)) {
      const place = after(id);
      if (place === undefined) continue;
      const { items } = await this.#desk.connection.api.history(this.#character.id, 1, place);
      const [item] = items;
      if (item?.id === id) this.#items.set(id, item);
    }
  }

  /** The newest line that is stored. */
  #last(): HistoryItem | undefined {
    return this.#sorted().find(({ kind }) => kind === "dialogue");
  }

  #sorted(): HistoryItem[] {
    return [...this.#items.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, MOST);
  }

  #show(): void {
    const { connection } = this.#desk;
    const all = this.#sorted();
    const player = connection.session?.player ?? "";
    const last = this.#last();
    const name = this.#character.name;
    const recalled = (last?.recalled ?? []).map((id) => {
      const item = this.#items.get(id);
      return item
        ? memoryCard(item, { name, player })
        : h("li", { class: "memory dim" }, `${short(id, 13)}: not in its own history`);
    });
    const none = last ? "Nothing, when it answered the last line." : "Nothing was said yet.";
    fill(this.#mind, ...(recalled.length > 0 ? recalled : [h("li", { class: "dim" }, none)]));
    const kept = all.filter((item) => !mayHear(item, player));
    say(
      this.#keptNote,
      kept.length === 0
        ? "Nothing: all that is here was said with you, or happened before everybody’s eyes."
        : "Said with others, out of your hearing. No prompt for your lines has any of it.",
    );
    fill(this.#kept, ...kept.slice(0, 20).map((item) => memoryCard(item, { name, player })));
    const told = all.filter((item) => mayHear(item, player));
    fill(
      this.#told,
      ...told.map((item) => memoryCard(item, { name, player, resolve: (id) => this.#items.get(id) })),
    );
    this.#more.hidden = this.#next === undefined || all.length >= MOST;
    say(this.#status, told.length === 0 ? "Nothing yet." : `The newest ${ago(told[0]?.at_ms ?? 0)}.`);
  }
}

/** The id right after one, so that a page before it begins with that one. Ids are UUIDs. */
function after(id: string): string | undefined {
  const digits = id.replaceAll("-", "");
  if (!/^[0-9a-f]{32}$/.test(digits)) return undefined;
  const next = (BigInt(`0x${digits}`) + 1n).toString(16).padStart(32, "0");
  return next.length > 32 ? undefined : next.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
