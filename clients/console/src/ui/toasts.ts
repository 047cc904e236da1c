import { h } from "./dom.js";

/** Messages at once, and how long one stays, in milliseconds. */
const MOST = 4;
const STAYS_MS = 8_000;

/** Short messages at the edge of the page, which are read out. */
export class Toasts {
  readonly element = h("div", { class: "toasts", role: "status", "aria-live": "polite" });

  show(text: string, kind: "bad" | "plain" = "bad"): void {
    const toast = h("p", { class: "toast", "data-kind": kind }, text);
    this.element.append(toast);
    while (this.element.childElementCount > MOST) this.element.firstElementChild?.remove();
    setTimeout(() => toast.remove(), STAYS_MS);
  }
}
