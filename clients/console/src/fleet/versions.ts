import type { Adapter } from "../net/answers.js";
import { h, mark } from "../ui/dom.js";
import { bytes, percent } from "../ui/format.js";
import { part, Rows } from "./part.js";

export interface VersionsHost {
  promote(adapter: string, version: string, share: number | undefined): Promise<void>;
  rollback(adapter: string): Promise<void>;
}

/** Shares of the NPCs that a version may be tried with. */
const SHARES = [1, 0.5, 0.25, 0.1, 0.01];

/** Versions of all adapters, those in use and those that may be. */
export class Versions {
  readonly element: HTMLElement;
  readonly #host: VersionsHost;
  readonly #rows: Rows<Adapter>;
  readonly #share: HTMLSelectElement;
  readonly #only: HTMLInputElement;
  #all: readonly Adapter[] = [];

  constructor(host: VersionsHost) {
    this.#host = host;
    this.#share = h(
      "select",
      { "aria-label": "For how many NPCs a version is promoted" },
      ...SHARES.map((share) =>
        h("option", { value: share }, share === 1 ? "for all NPCs" : `on trial with ${percent(share)}`),
      ),
    );
    this.#only = h("input", {
      type: "search",
      placeholder: "vampire",
      "aria-label": "Show adapters with this in their id",
      on: { input: () => this.#show() },
    });
    this.#rows = new Rows(
      "Versions",
      ["adapter", "version", "in use", "rank", "memory", "better than the base", ""],
      "No adapters.",
      (adapter) => this.#row(adapter),
    );
    this.element = part(
      "Versions",
      h("div", { class: "row" }, this.#only, h("span", { class: "dim" }, "Promote"), this.#share),
      this.#rows.element,
    );
  }

  show(all: readonly Adapter[]): void {
    this.#all = all;
    this.#show();
  }

  #show(): void {
    const word = this.#only.value.trim().toLowerCase();
    this.#rows.show(this.#all.filter(({ id }) => id.toLowerCase().includes(word)));
  }

  #row(adapter: Adapter): HTMLElement {
    const { id, version, state, share, rank, bytes: size, memory_bytes, error, pinned } = adapter;
    const act = (label: string, name: string, run: () => Promise<void>) => {
      const button = h(
        "button",
        {
          type: "button",
          class: "small",
          "aria-label": name,
          on: {
            click: () => {
              mark(button, "disabled", "");
              void run().finally(() => mark(button, "disabled", undefined));
            },
          },
        },
        label,
      );
      return button;
    };
    const used = { promoted: "all", canary: percent(share ?? 0), available: "no", refused: "refused" }[state];
    const promote = () => {
      const share = Number(this.#share.value);
      return this.#host.promote(id, version, share === 1 ? undefined : share);
    };
    return h(
      "tr",
      { "data-adapter": id, "data-version": version, "data-state": state },
      h("td", {}, id),
      h("td", {}, version),
      h("td", {}, h("span", { class: "chip", "data-state": state }, used), pinned && " pinned"),
      h("td", { class: "num" }, rank),
      h("td", { class: "num" }, memory_bytes === undefined ? `${bytes(size)} on disk` : bytes(memory_bytes)),
      h("td", { class: "num" }, error ?? better(adapter)),
      h(
        "td",
        { class: "acts" },
        (state === "available" || state === "canary") && act("Promote", `Promote ${id} ${version}`, promote),
        (state === "promoted" || state === "canary") &&
          act("Roll back", `Roll back ${id} from ${version}`, () => this.#host.rollback(id)),
      ),
    );
  }
}

function better({ metrics }: Adapter): string {
  if (!metrics) return "–";
  const { loss, base_loss, accuracy, base_accuracy } = metrics;
  if (accuracy != null && base_accuracy != null)
    return `${percent(base_accuracy)} → ${percent(accuracy)} right`;
  return loss != null && base_loss != null ? `loss ${base_loss.toFixed(2)} → ${loss.toFixed(2)}` : "–";
}
