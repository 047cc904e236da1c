import type { ChainItem, SessionItem, Stats } from "../net/answers.js";
import type { Connection } from "../net/connection.js";
import { reasonOf } from "../talk/cast.js";
import { h, mark, say } from "../ui/dom.js";
import { ago, bytes, count, lasted } from "../ui/format.js";
import { Figure, Gauge, part, Rows } from "./part.js";
import { Provisioning } from "./provisioning.js";
import { Strip } from "./strip.js";
import { Versions } from "./versions.js";

/** Asked so often while somebody looks. */
const EVERY_MS = 500;
/** What seldom changes is asked for every so many times. */
const SELDOM = 4;

/** What the server does: its sessions, its batch, its adapters, its history. */
export class FleetPage {
  readonly element: HTMLElement;
  readonly #connection: Connection;
  readonly #complain: (why: string, kind?: "bad" | "plain") => void;
  readonly #status = h("p", { class: "hint", role: "status" });
  readonly #figures = {
    sessions: new Figure("sessions"),
    turns: new Figure("turns now"),
    pace: new Figure("tokens a second"),
    step: new Figure("a step"),
    waiting: new Figure("waiting"),
    server: new Figure("server"),
  };
  readonly #strip = new Strip();
  readonly #kv = new Gauge("Conversations kept warm");
  readonly #pool = new Gauge("Adapters in memory");
  readonly #tiers = { journal: h("dd", {}), warm: h("dd", {}), archive: h("dd", {}) };
  readonly #ends = h("p", { class: "dim" });
  readonly #sessions: Rows<SessionItem>;
  readonly #chains: Rows<ChainItem>;
  readonly #versions: Versions;
  readonly #provisioning: Provisioning;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #round = 0;
  #isOpen = false;
  #asking = false;

  constructor(connection: Connection, complain: (why: string, kind?: "bad" | "plain") => void) {
    this.#connection = connection;
    this.#complain = complain;
    this.#sessions = new Rows(
      "Sessions",
      ["player", "state", "since", "characters", "turns", "frames held", "frames as"],
      "Nobody is here.",
      session,
    );
    this.#chains = new Rows(
      "Chains",
      ["archetype", "answers with", "memory", "as it is since", "lives on"],
      "No archetypes.",
      chain,
    );
    this.#versions = new Versions({
      promote: (adapter, version, share) =>
        this.#change(`${adapter} ${version} is promoted.`, () =>
          connection.api.promote(adapter, version, share),
        ),
      rollback: (adapter) => this.#change(`${adapter} is rolled back.`, () => connection.api.rollback(adapter)),
    });
    this.#provisioning = new Provisioning((archetype) =>
      this.#change(`${archetype} is on its way.`, () => connection.api.provision(archetype)),
    );
    this.element = h(
      "main",
      { class: "fleet", tabindex: "-1", hidden: true },
      h("h1", { class: "sr" }, "Fleet"),
      this.#status,
      ...this.#layout(),
    );
    document.addEventListener("visibilitychange", () => this.#look());
    connection.link.on(() => this.#look());
  }

  /** Shows it, or hides it; nothing is asked while nobody looks. */
  open(isOpen: boolean): void {
    this.#isOpen = isOpen;
    this.element.hidden = !isOpen;
    this.#look();
  }

  #layout(): HTMLElement[] {
    const tier = (name: string, value: HTMLElement) => h("div", {}, h("dt", {}, name), value);
    const { journal, warm, archive } = this.#tiers;
    return [
      h("div", { class: "figures" }, ...Object.values(this.#figures).map(({ element }) => element)),
      h(
        "div",
        { class: "cards" },
        part("Batch", this.#strip.element),
        part("Memory", this.#kv.element, this.#pool.element),
        part(
          "History",
          h(
            "dl",
            { class: "facts-list" },
            tier("journal", journal),
            tier("warm", warm),
            tier("archive", archive),
          ),
          this.#ends,
        ),
        part("Sessions", this.#sessions.element),
        this.#provisioning.element,
        part("Chains and where they live", this.#chains.element),
        this.#versions.element,
      ),
    ];
  }

  #look(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#isOpen || document.hidden || this.#asking) return;
    if (!this.#connection.isAdmin) {
      const isHere = this.#connection.session !== undefined;
      say(this.#status, isHere ? "Your token does not have the scope admin, which this page needs." : "");
      return;
    }
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const { api } = this.#connection;
    const began = performance.now();
    const isSeldom = this.#round % SELDOM === 0;
    this.#round += 1;
    this.#asking = true;
    try {
      const [stats, sessions, provisioning, archetypes, adapters] = await Promise.all([
        api.stats(),
        api.sessions(),
        api.provisioning(),
        isSeldom ? api.archetypes() : undefined,
        isSeldom ? api.adapters() : undefined,
      ]);
      this.#show(stats);
      this.#sessions.show(sessions.items, Math.floor(this.#round / (SELDOM * 2)));
      this.#provisioning.show(provisioning.items);
      if (archetypes) {
        const elsewhere = Object.entries(archetypes.elsewhere ?? {}).map(([name, hosts]) => away(name, hosts));
        this.#chains.show([...archetypes.items, ...elsewhere], Math.floor(Date.now() / 10_000));
        this.#provisioning.offer(archetypes.items.map(({ name }) => name));
      }
      if (adapters) this.#versions.show(adapters.items);
      say(this.#status, "");
      mark(this.element, "data-stale", undefined);
    } catch (error) {
      say(this.#status, `The server does not answer: ${reasonOf(error)}`);
      mark(this.element, "data-stale", "");
    } finally {
      this.#asking = false;
    }
    if (!this.#isOpen || document.hidden) return;
    this.#timer = setTimeout(() => this.#look(), Math.max(50, EVERY_MS - (performance.now() - began)));
  }

  async #change(done: string, change: () => Promise<unknown>): Promise<void> {
    try {
      await change();
      this.#complain(done, "plain");
      // What is in use is another one now.
      this.#round = 0;
    } catch (error) {
      this.#complain(reasonOf(error));
    }
  }

  #show(stats: Stats): void {
    const { server, sessions, turns, engine, history } = stats;
    const figures = this.#figures;
    figures.sessions.show(
      count(sessions.sessions),
      `of ${count(sessions.limit)}${sessions.lost > 0 ? `, ${sessions.lost} lost` : ""}`,
    );
    figures.turns.show(count(turns.running), `${count(turns.started)} so far`);
    figures.pace.show(
      engine.tokens_per_s === null ? "–" : engine.tokens_per_s.toFixed(0),
      `${count(turns.generated_tokens)} so far`,
    );
    const { step_ms: step } = engine;
    const took = step === null ? "–" : step < 100 ? `${step.toFixed(1)} ms` : lasted(step);
    figures.step.show(took, engine.decoder);
    figures.waiting.show(
      count(engine.waiting),
      engine.overloaded ? "overloaded" : `of ${count(engine.queue_limit)}`,
    );
    figures.server.show(server.version, `${server.draining ? "draining, " : ""}up ${lasted(server.uptime_ms)}`);
    this.#strip.add(stats);
    const { kv, adapters } = engine;
    this.#kv.element.hidden = !kv;
    this.#pool.element.hidden = !adapters;
    if (kv)
      this.#kv.show(
        kv.used_bytes / kv.limit_bytes,
        `${bytes(kv.used_bytes)} of ${bytes(kv.limit_bytes)}`,
        `${count(kv.conversations)} conversations`,
      );
    if (adapters) {
      const { registered, resident, used_bytes, limit_bytes } = adapters;
      this.#pool.show(
        used_bytes / limit_bytes,
        `${bytes(used_bytes)} of ${bytes(limit_bytes)}`,
        `${resident} of ${registered} resident`,
      );
    }
    const { journal, warm, archive } = history;
    say(
      this.#tiers.journal,
      `${journal.writable ? "writable" : "cannot be written"}, ${count(journal.waiting)} waiting`,
    );
    say(this.#tiers.warm, warm.state);
    const lag = archive.lag_ms === undefined ? "" : `, ${lasted(archive.lag_ms)} behind`;
    const waiting = archive.waiting === undefined ? "" : `, ${count(archive.waiting)} waiting`;
    say(this.#tiers.archive, archive.state + waiting + lag);
    const ends = Object.entries(turns.done).filter(([, times]) => times > 0);
    say(
      this.#ends,
      ends.length === 0
        ? ""
        : `Turns ended: ${ends.map(([reason, times]) => `${reason} ${count(times)}`).join(", ")}`,
    );
  }
}

function session(of: SessionItem): HTMLElement {
  return h(
    "tr",
    { "data-session": of.session },
    h("td", {}, of.player),
    h("td", {}, h("span", { class: "chip", "data-state": of.state }, of.state)),
    h("td", {}, ago(of.since_ms)),
    h(
      "td",
      {},
      of.npcs.length > 4
        ? `${of.npcs.slice(0, 4).join(", ")} and ${of.npcs.length - 4} more`
        : of.npcs.join(", ") || "–",
    ),
    h("td", { class: "num" }, of.turns),
    h(
      "td",
      { class: "num" },
      of.held_frames === 0 ? "–" : `${count(of.held_frames)} (${bytes(of.held_bytes)})`,
    ),
    h("td", {}, of.subprotocol.replace("npc.v1.", "")),
  );
}

function chain(of: ChainItem): HTMLElement {
  const tasks = Object.keys(of.tasks).length;
  const hosts = of.hosts ?? [];
  const others = hosts.map(({ server }) => server).filter((server) => server !== of.server);
  return h(
    "tr",
    { "data-archetype": of.name },
    h("td", {}, of.title),
    h("td", {}, of.generic ? "the base model" : `${tasks} adapter${tasks === 1 ? "" : "s"}`),
    h("td", { class: "num" }, of.memory_bytes === 0 ? "–" : bytes(of.memory_bytes)),
    h("td", {}, of.since_ms === 0 ? "–" : ago(of.since_ms)),
    h("td", {}, [of.server, ...others].filter(Boolean).join(", ")),
  );
}

/** A chain that only other servers host. */
function away(name: string, hosts: readonly { server: string }[]): ChainItem {
  return {
    name,
    title: name,
    generic: false,
    tasks: {},
    server: "",
    memory_bytes: 0,
    since_ms: 0,
    hosts: [...hosts],
  };
}
