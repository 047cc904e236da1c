import { loop } from "../ui/loop.js";
import { colors, themed } from "../ui/theme.js";
import type { Change, Order, Subject } from "./orders.js";
import { Studio } from "./studio.js";

/** If nothing is heard of the worker for so long, the page draws itself. */
const PATIENCE_MS = 3000;

/**
 * Hands what is to be drawn to whoever draws, once in a frame: a worker, so that the page has time for other things, or the
 * page itself where there is no worker or a canvas cannot be given to it.
 */
class Post {
  readonly #orders: Order[] = [];
  readonly #changes = new Map<number, Change>();
  /** Unknown at first. */
  #deliver: ((orders: Order[]) => void) | undefined;
  #made = 0;

  constructor() {
    themed.on(() => this.#order({ what: "colors", palette: colors() }));
    loop.after.on(() => this.#flush());
    this.#hire();
  }

  /** Begins a picture; its number. */
  begin(subject: Subject, pixels: HTMLCanvasElement): number {
    if (this.#made === 0) this.#order({ what: "colors", palette: colors() });
    this.#made += 1;
    this.#order({ what: "begin", id: this.#made, subject, pixels });
    return this.#made;
  }

  change(id: number, change: Change): void {
    this.#changes.set(id, { ...this.#changes.get(id), ...change });
    loop.wake();
  }

  end(id: number): void {
    this.#changes.delete(id);
    this.#order({ what: "end", id });
  }

  #order(order: Order): void {
    this.#orders.push(order);
    loop.wake();
  }

  #flush(): void {
    if (!this.#deliver || (this.#orders.length === 0 && this.#changes.size === 0)) return;
    const orders = this.#orders.splice(0);
    for (const [id, change] of this.#changes) orders.push({ what: "change", id, change });
    this.#changes.clear();
    this.#deliver(orders);
  }

  /** Looks for somebody who draws. */
  #hire(): void {
    if (typeof Worker === "undefined" || !("transferControlToOffscreen" in HTMLCanvasElement.prototype)) {
      this.#settle(undefined);
      return;
    }
    let worker: Worker;
    try {
      worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    } catch (error) {
      // Some browsers refuse at once what a policy or a sandbox forbids.
      reportError(error);
      this.#settle(undefined);
      return;
    }
    const settle = (draws: boolean) => {
      clearTimeout(late);
      // Later news changes nothing: a canvas that was given away does not come back.
      if (this.#deliver) return;
      if (!draws) worker.terminate();
      this.#settle(draws ? worker : undefined);
    };
    const late = setTimeout(() => settle(false), PATIENCE_MS);
    worker.addEventListener("message", ({ data }) => settle(data === true), { once: true });
    // Also for all errors that come when it draws.
    worker.addEventListener("error", (event) => {
      // Told here and not by the browser, so that it is told once, and to whoever listens for errors of the page.
      event.preventDefault();
      reportError(faultOf(event));
      settle(false);
    });
  }

  /** It is known who draws: the worker, or the page itself. */
  #settle(worker: Worker | undefined): void {
    if (worker) {
      this.#deliver = (orders) => give(worker, orders);
    } else {
      const studio = new Studio();
      this.#deliver = (orders) => {
        studio.take(orders);
        studio.paint();
      };
    }
    this.#flush();
  }
}

/** An error of the worker. Of one that cannot be loaded, browsers say nothing. */
function faultOf({ message, filename, lineno, colno }: ErrorEvent): Error {
  if (!message) return new Error("the worker that draws cannot be loaded");
  return new Error(`the worker that draws: ${message} (${filename}:${lineno}:${colno})`);
}

function give(worker: Worker, orders: Order[]): void {
  const given: Transferable[] = [];
  const plain = orders.map((order) => {
    if (order.what !== "begin" || !(order.pixels instanceof HTMLCanvasElement)) return order;
    const pixels = order.pixels.transferControlToOffscreen();
    given.push(pixels);
    return { ...order, pixels };
  });
  worker.postMessage(plain, given);
}

export const post = new Post();
