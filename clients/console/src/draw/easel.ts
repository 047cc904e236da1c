import type { Size } from "../ui/canvas.js";
import { h } from "../ui/dom.js";
import { sizes } from "../ui/sizes.js";
import type { Finger, Shows, Subject } from "./orders.js";
import { post } from "./post.js";

/** A picture on the page. It is drawn elsewhere: here is said what it shows. */
export class Easel<Kind extends keyof Shows> {
  readonly element: HTMLCanvasElement;
  readonly #id: number;
  #size: Size = { width: 0, height: 0, scale: 1 };
  #unwatch: (() => void) | undefined;

  constructor(subject: Extract<Subject, { kind: Kind }>, attributes: Record<string, string>) {
    this.element = h("canvas", attributes);
    this.#id = post.begin(subject, this.element);
  }

  /** In units of the page; 0 while it is not to be seen. */
  get width(): number {
    return this.#size.width;
  }

  get isSeen(): boolean {
    return this.#size.width > 0 && this.#size.height > 0;
  }

  /** Makes it as large as the element that it stands in, whenever that changes. */
  fit(box: Element, changed = () => {}): void {
    this.#unwatch = sizes.watch(box, (size) => {
      const was = this.#size;
      if (was.width === size.width && was.height === size.height && was.scale === size.scale) return;
      this.#size = size;
      post.change(this.#id, { size });
      changed();
    });
  }

  /** What it shows from now on. It is handed on as it is at the end of the frame. */
  show(shown: Shows[Kind]): void {
    post.change(this.#id, { shown });
  }

  /** Points at a moment of a timeline; `undefined`: at none. */
  point(finger: Finger | undefined): void {
    post.change(this.#id, { finger: finger ?? null });
  }

  close(): void {
    this.#unwatch?.();
    post.end(this.#id);
  }
}
