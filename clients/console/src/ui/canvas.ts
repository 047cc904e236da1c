/** What can be drawn on. */
export type Ctx = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** A size in units of the page, and how many pixels there are to one of them. */
export interface Size {
  width: number;
  height: number;
  scale: number;
}

/** A canvas that is as sharp as the screen, drawn in units of the page; on the page or away from it. */
export class Canvas {
  readonly #pixels: HTMLCanvasElement | OffscreenCanvas;
  readonly #ctx: Ctx;
  #size: Size = { width: 0, height: 0, scale: 0 };

  constructor(pixels: HTMLCanvasElement | OffscreenCanvas) {
    this.#pixels = pixels;
    // The same question twice: each has its own kinds of answers.
    const ctx = pixels instanceof OffscreenCanvas ? pixels.getContext("2d") : pixels.getContext("2d");
    if (!ctx) throw new Error("this browser draws nothing on a canvas");
    this.#ctx = ctx;
  }

  get width(): number {
    return this.#size.width;
  }

  get height(): number {
    return this.#size.height;
  }

  /** Gives it a size; whether that is another one, so that all of it must be drawn anew. */
  resize(size: Size): boolean {
    const { width, height, scale } = this.#size;
    if (size.width === width && size.height === height && size.scale === scale) return false;
    this.#size = size;
    this.#pixels.width = Math.max(1, Math.round(size.width * size.scale));
    this.#pixels.height = Math.max(1, Math.round(size.height * size.scale));
    return true;
  }

  /** Begins a picture: empty, in units of the page. */
  begin(): Ctx {
    const { width, height, scale } = this.#size;
    this.#ctx.setTransform(scale, 0, 0, scale, 0, 0);
    this.#ctx.clearRect(0, 0, width, height);
    return this.#ctx;
  }

  /** Draws something once, in units of the page, to be laid into many pictures of this size. */
  layer(draw: (ctx: OffscreenCanvasRenderingContext2D) => void): OffscreenCanvas {
    const layer = new OffscreenCanvas(this.#pixels.width, this.#pixels.height);
    const ctx = layer.getContext("2d");
    if (ctx) {
      ctx.scale(this.#size.scale, this.#size.scale);
      draw(ctx);
    }
    return layer;
  }

  /** Lays such a layer over what is there. */
  lay(layer: OffscreenCanvas): void {
    this.#ctx.save();
    this.#ctx.setTransform(1, 0, 0, 1, 0, 0);
    this.#ctx.drawImage(layer, 0, 0);
    this.#ctx.restore();
  }
}
