import type { Size } from "./canvas.js";

/** Pixels to a unit of the page, beyond which nobody sees a difference. */
const MOST_SCALE = 2;

/** Tells an element's size when it changes, once for all canvases of the page. */
class Sizes {
  readonly #changed = new WeakMap<Element, (size: Size) => void>();
  readonly #observer = new ResizeObserver((entries) => {
    const scale = Math.min(MOST_SCALE, devicePixelRatio || 1);
    for (const { target, contentRect } of entries) {
      const [width, height] = [Math.floor(contentRect.width), Math.floor(contentRect.height)];
      this.#changed.get(target)?.({ width, height, scale });
    }
  });

  watch(element: Element, changed: (size: Size) => void): () => void {
    this.#changed.set(element, changed);
    this.#observer.observe(element);
    return () => this.#observer.unobserve(element);
  }
}

export const sizes = new Sizes();
