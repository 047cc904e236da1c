import { fill, h, uid } from "../ui/dom.js";

/** A part of the page with a heading. */
export function part(title: string, ...children: (Node | false | undefined)[]): HTMLElement {
  const id = uid("part");
  const section = h("section", { class: "card", "aria-labelledby": id }, h("h2", { id }, title));
  for (const child of children) if (child) section.append(child);
  return section;
}

/** Rows that are made anew only when they are others. */
export class Rows<Item> {
  readonly element: HTMLElement;
  readonly #body = h("tbody", {});
  readonly #row: (item: Item) => HTMLElement;
  readonly #none: string;
  readonly #columns: number;
  #shown = "";

  constructor(label: string, columns: readonly string[], none: string, row: (item: Item) => HTMLElement) {
    this.#row = row;
    this.#none = none;
    this.#columns = columns.length;
    const heads = columns.map((column) => h("th", { scope: "col" }, column));
    this.element = h(
      "div",
      { class: "table", tabindex: "0", role: "region", "aria-label": label },
      h("table", {}, h("thead", {}, h("tr", {}, ...heads)), this.#body),
    );
  }

  /** Shows these; `also` is what else their rows depend on. */
  show(items: readonly Item[], also: unknown = ""): void {
    const now = JSON.stringify([items, also]);
    if (now === this.#shown) return;
    this.#shown = now;
    const rows = items.map((item) => this.#row(item));
    const none = h("tr", {}, h("td", { colspan: this.#columns, class: "dim" }, this.#none));
    fill(this.#body, ...(rows.length > 0 ? rows : [none]));
  }
}

/** How full something is. */
export class Gauge {
  readonly element: HTMLElement;
  readonly #bar = h("span", { class: "gauge-bar" });
  readonly #text = h("span", { class: "num" });
  readonly #note = h("span", { class: "dim" });

  constructor(label: string) {
    this.element = h(
      "div",
      { class: "gauge" },
      h("span", {}, label),
      this.#text,
      h("span", { class: "gauge-track", "aria-hidden": "true" }, this.#bar),
      this.#note,
    );
  }

  show(share: number, text: string, note = ""): void {
    const full = Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0));
    this.#bar.style.setProperty("--share", full.toFixed(4));
    this.#bar.dataset["full"] = String(full > 0.9);
    if (this.#text.textContent !== text) this.#text.textContent = text;
    if (this.#note.textContent !== note) this.#note.textContent = note;
  }
}

/** A number that matters, with what it is. */
export class Figure {
  readonly element: HTMLElement;
  readonly #value = h("strong", {}, "–");
  readonly #note = h("span", { class: "dim" });

  constructor(label: string) {
    this.element = h(
      "div",
      { class: "figure" },
      h("span", { class: "figure-label" }, label),
      this.#value,
      this.#note,
    );
  }

  show(value: string, note = ""): void {
    if (this.#value.textContent !== value) this.#value.textContent = value;
    if (this.#note.textContent !== note) this.#note.textContent = note;
  }
}
