import { Easel } from "../draw/easel.js";
import { h, mark } from "../ui/dom.js";
import { noUnits, spelled, type Units } from "./units.js";

/** Smaller than can be seen. */
const EPSILON = 0.01;

/** Action units as bars, always in the same places. */
export class UnitBars {
  readonly element: HTMLElement;
  readonly #easel = new Easel<"bars">(
    { kind: "bars" },
    { role: "img", "aria-label": "Action units: no action unit" },
  );
  #drawn: Units | undefined;

  constructor() {
    this.element = h("div", { class: "units" }, this.#easel.element);
    this.#easel.fit(this.element);
  }

  /** Whether what is drawn is something else. */
  isBehind(units: Units): boolean {
    const drawn = this.#drawn;
    if (!this.#easel.isSeen) return false;
    return !drawn || units.some((weight, index) => Math.abs(weight - (drawn[index] ?? 0)) > EPSILON);
  }

  draw(units: Units): void {
    if (!this.isBehind(units)) return;
    this.#drawn ??= noUnits();
    this.#drawn.set(units);
    this.#easel.show(this.#drawn);
  }

  /** Says what is shown. Not at every frame: nobody could listen to that. */
  spell(units: Units): void {
    mark(this.#easel.element, "aria-label", `Action units: ${spelled(units)}`);
  }

  close(): void {
    this.#easel.close();
  }
}
