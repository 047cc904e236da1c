import type { ProvisioningItem, ProvisioningTask } from "../net/answers.js";
import { fill, h, uid } from "../ui/dom.js";
import { ago, lasted, words } from "../ui/format.js";
import { part } from "./part.js";

/** Archetypes on their way to adapters of their own. */
export class Provisioning {
  readonly element: HTMLElement;
  readonly #list = h("ul", { class: "provisioning" });
  readonly #which: HTMLSelectElement;
  #shown = "";
  #names = "";

  constructor(provision: (archetype: string) => Promise<void>) {
    this.#which = h("select", { id: uid("archetype") });
    const form = h(
      "form",
      {
        class: "row",
        on: {
          submit: (event) => {
            event.preventDefault();
            if (this.#which.value !== "") void provision(this.#which.value);
          },
        },
      },
      h("label", { for: this.#which.id }, "Archetype"),
      this.#which,
      h("button", { type: "submit" }, "Train adapters"),
    );
    this.element = part("Provisioning", form, this.#list);
  }

  /** The archetypes that may be asked for. */
  offer(names: readonly string[]): void {
    if (names.join() === this.#names) return;
    this.#names = names.join();
    const chosen = this.#which.value;
    fill(this.#which, ...names.map((name) => h("option", { value: name, selected: name === chosen }, name)));
  }

  show(items: readonly ProvisioningItem[]): void {
    const now = JSON.stringify(items);
    if (now === this.#shown) return;
    this.#shown = now;
    const none = h(
      "li",
      { class: "dim" },
      "Nothing was asked for. An archetype with lines and no adapters begins when a player meets it.",
    );
    fill(this.#list, ...(items.length > 0 ? items.map(item) : [none]));
  }
}

function item(of: ProvisioningItem): HTMLElement {
  const trained = of.trained_ms > 0 ? ` · trained for ${lasted(of.trained_ms)}` : "";
  return h(
    "li",
    { "data-archetype": of.archetype, "data-state": of.state },
    h(
      "p",
      { class: "row" },
      h("strong", {}, of.archetype),
      h("span", { class: "chip", "data-state": of.state }, of.state),
      h("span", { class: "dim" }, `${of.cause}, changed ${ago(of.changed_ms)}${trained}`),
    ),
    of.reason !== undefined && h("p", { class: "why" }, of.reason),
    h("ul", {}, ...Object.entries(of.tasks).map(([name, found]) => task(name, found, of.archetype))),
  );
}

function task(name: string, found: ProvisioningTask, archetype: string): HTMLElement {
  const { step, steps, loss, eta_s, version, rejected } = found;
  const facts = [
    step !== undefined && steps !== undefined ? `${step} of ${steps}` : undefined,
    loss === undefined ? undefined : `loss ${loss.toFixed(2)}`,
    eta_s === undefined || step === steps ? undefined : `${lasted(eta_s * 1000)} left`,
    version,
    rejected,
  ];
  const told = facts.filter((fact) => fact !== undefined).join(" · ");
  return h(
    "li",
    {},
    h("span", {}, words(name)),
    h("progress", {
      max: steps ?? 1,
      value: version === undefined ? (step ?? 0) : (steps ?? 1),
      "aria-label": `${archetype} ${words(name)}`,
    }),
    h("span", { class: "dim" }, told || "waits"),
  );
}
