import { Canvas } from "../ui/canvas.js";
import type { Palette } from "../ui/palette.js";
import { BarsPainter } from "./bars.js";
import { HeadPainter } from "./head.js";
import type { Change, Finger, Order, Painter, Shows, Subject } from "./orders.js";
import { TimelinePainter } from "./timeline.js";

/** Where pictures are drawn: in a worker, or on the page where that cannot be. */
export class Studio {
  readonly #pictures = new Map<number, Picture>();
  #palette: Palette | undefined;

  /** Takes orders; nothing is drawn yet. */
  take(orders: readonly Order[]): void {
    for (const order of orders) {
      if (order.what === "colors") {
        this.#palette = order.palette;
        for (const picture of this.#pictures.values()) picture.isStale = true;
      } else {
        this.#attempt(order.id, () => this.#follow(order));
      }
    }
  }

  /** Draws every picture that is another one than before. */
  paint(): void {
    const palette = this.#palette;
    if (!palette) return;
    for (const [id, picture] of this.#pictures) this.#attempt(id, () => picture.paint(palette));
  }

  #follow(order: Exclude<Order, { what: "colors" }>): void {
    switch (order.what) {
      case "begin":
        this.#pictures.set(order.id, new Picture(order.subject, order.pixels));
        break;
      case "change":
        this.#pictures.get(order.id)?.change(order.change);
        break;
      case "end":
        this.#pictures.delete(order.id);
        break;
    }
  }

  /**
   * Does something for a picture. One that fails is given up, so that it fails once and not in every frame, and takes no
   * other picture with it.
   */
  #attempt(id: number, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#pictures.delete(id);
      reportError(error);
    }
  }
}

class Picture {
  readonly #canvas: Canvas;
  readonly #painter: Painter<Shows[keyof Shows]>;
  #shown: Shows[keyof Shows] | undefined;
  #finger: Finger | null = null;
  #isChanged = false;
  /** Nothing of what is drawn can stay. */
  isStale = true;

  constructor(subject: Subject, pixels: HTMLCanvasElement | OffscreenCanvas) {
    this.#canvas = new Canvas(pixels);
    // A picture is shown what its kind shows: `Easel` sees to it.
    this.#painter = painterOf(subject) as Painter<Shows[keyof Shows]>;
  }

  change({ size, shown, finger }: Change): void {
    if (size && this.#canvas.resize(size)) this.isStale = true;
    if (shown) this.#shown = shown;
    if (finger !== undefined) this.#finger = finger;
    this.#isChanged = true;
  }

  paint(palette: Palette): void {
    if (!(this.#isChanged || this.isStale) || !this.#shown) return;
    if (this.#canvas.width === 0 || this.#canvas.height === 0) return;
    this.#painter.paint(this.#canvas, this.#shown, palette, this.isStale, this.#finger);
    this.#isChanged = false;
    this.isStale = false;
  }
}

function painterOf(subject: Subject): HeadPainter | BarsPainter | TimelinePainter {
  switch (subject.kind) {
    case "head":
      return new HeadPainter(subject.look);
    case "bars":
      return new BarsPainter();
    case "timeline":
      return new TimelinePainter();
  }
}
