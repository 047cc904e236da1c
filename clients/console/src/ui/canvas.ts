/** A canvas that is as sharp as the screen, drawn in units of the page. */
export class Canvas {
  readonly element: HTMLCanvasElement;
  readonly ctx: CanvasRenderingContext2D;
  width = 0;
  height = 0;
  #scale = 0;

  constructor(element: HTMLCanvasElement) {
    this.element = element;
    const ctx = element.getContext("2d");
    if (!ctx) throw new Error("this browser draws nothing on a canvas");
    this.ctx = ctx;
  }

  /** Gives it a size in units of the page; whether that is another one, so that all of it must be drawn anew. */
  resize(width: number, height: number): boolean {
    const scale = Math.min(2, globalThis.devicePixelRatio || 1);
    if (width === this.width && height === this.height && scale === this.#scale) return false;
    Object.assign(this, { width, height });
    this.#scale = scale;
    this.element.width = Math.max(1, Math.round(width * scale));
    this.element.height = Math.max(1, Math.round(height * scale));
    return true;
  }

  /** Begins a picture: empty, in units of the page. */
  begin(): CanvasRenderingContext2D {
    this.ctx.setTransform(this.#scale, 0, 0, this.#scale, 0, 0);
    this.ctx.clearRect(0, 0, this.width, this.height);
    return this.ctx;
  }

  /** Draws something once, in units of the page, to be laid into many pictures of this size. */
  layer(draw: (ctx: OffscreenCanvasRenderingContext2D) => void): OffscreenCanvas {
    const layer = new OffscreenCanvas(this.element.width, this.element.height);
    const ctx = layer.getContext("2d");
    if (ctx) {
      ctx.scale(this.#scale, this.#scale);
      draw(ctx);
    }
    return layer;
  }

  /** Lays such a layer over what is there. */
  lay(layer: OffscreenCanvas): void {
    this.ctx.save();
    this.ctx.setTransform(1, 0, 0, 1, 0, 0);
    this.ctx.drawImage(layer, 0, 0);
    this.ctx.restore();
  }
}

/** What can be drawn on. */
export type Ctx = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** Tells an element's size when it changes, once for all canvases of the page. */
export class Sizes {
  readonly #changed = new WeakMap<Element, (width: number, height: number) => void>();
  readonly #observer = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      this.#changed.get(target)?.(Math.floor(contentRect.width), Math.floor(contentRect.height));
    }
  });

  watch(element: Element, changed: (width: number, height: number) => void): () => void {
    this.#changed.set(element, changed);
    this.#observer.observe(element);
    return () => this.#observer.unobserve(element);
  }
}

export const sizes = new Sizes();
