import type { Row, Stats } from "../net/answers.js";
import { Canvas, type Ctx } from "../ui/canvas.js";
import { h, mark, say } from "../ui/dom.js";
import { count } from "../ui/format.js";
import { type Animated, loop } from "../ui/loop.js";
import type { Color } from "../ui/palette.js";
import { sizes } from "../ui/sizes.js";
import { colors, themed } from "../ui/theme.js";

/** Moments that are kept: two minutes at two a second. */
const KEPT = 240;
/** What a row does, and how it is drawn. */
const KINDS = {
  none: { label: "free", color: "line" },
  prefill: { label: "reads a prompt", color: "sadness" },
  decode: { label: "speaks", color: "accent" },
  choose: { label: "chooses", color: "joy" },
  background: { label: "prepares for later", color: "contempt" },
} as const satisfies Record<string, { label: string; color: Color }>;

type Kind = keyof typeof KINDS;

const AXIS = 16;
const PACE = 46;

interface Moment {
  rows: Kind[];
  pace: number;
}

function kindOf(row: Row): Kind {
  if (!row) return "none";
  if (row.kind === "choose") return "choose";
  if (row.kind === "warm" || row.background) return "background";
  return row.phase === "prefill" ? "prefill" : "decode";
}

/** The rows of the batch as a strip that runs: now is on the right. */
export class Strip implements Animated {
  readonly element: HTMLElement;
  readonly #picture: HTMLCanvasElement;
  readonly #canvas: Canvas;
  readonly #moments: Moment[] = [];
  readonly #now = h("ol", { class: "batch", "aria-label": "Rows of the batch now" });
  #isStale = true;
  #cells: HTMLElement[] = [];

  constructor() {
    this.#picture = h("canvas", { role: "img", "aria-label": "Rows of the batch over the last two minutes" });
    this.#canvas = new Canvas(this.#picture);
    const box = h("div", { class: "strip" }, this.#picture);
    const legend = (Object.keys(KINDS) as Kind[]).map((kind) =>
      h("li", { "data-kind": kind }, h("span", { class: "swatch", "aria-hidden": "true" }), KINDS[kind].label),
    );
    this.element = h("div", {}, this.#now, box, h("ul", { class: "legend" }, ...legend));
    sizes.watch(box, (size) => {
      if (this.#canvas.resize(size)) this.#repaint();
    });
    themed.on(() => this.#repaint());
    loop.add(this);
  }

  add({ engine }: Stats): void {
    const rows = engine.rows.map(kindOf);
    this.#moments.push({ rows, pace: engine.tokens_per_s ?? 0 });
    if (this.#moments.length > KEPT) this.#moments.shift();
    this.#tell(engine.rows);
    const busy = rows.filter((kind) => kind !== "none").length;
    mark(
      this.#picture,
      "aria-label",
      `Rows of the batch over the last two minutes; now ${busy} of ${rows.length} taken`,
    );
    this.#repaint();
  }

  frame(): boolean {
    const { width, height } = this.#canvas;
    if (!this.#isStale || width === 0 || height === 0) return false;
    this.#isStale = false;
    const all = colors();
    const ctx = this.#canvas.begin();
    const step = width / KEPT;
    const rows = Math.max(1, ...this.#moments.map((moment) => moment.rows.length));
    const tall = (height - AXIS - PACE) / rows;
    const most = Math.max(10, ...this.#moments.map(({ pace }) => pace));
    this.#moments.forEach(({ rows }, index) => {
      const x = width - (this.#moments.length - index) * step;
      rows.forEach((kind, row) => {
        ctx.fillStyle = all[KINDS[kind].color];
        ctx.globalAlpha = kind === "none" ? 0.45 : 1;
        ctx.fillRect(x, row * tall, step + 0.4, Math.max(1, tall - 1.5));
      });
    });
    ctx.globalAlpha = 1;
    this.#pace(ctx, step, most);
    ctx.fillStyle = all.soft;
    ctx.font = "10.5px system-ui, sans-serif";
    ctx.textBaseline = "alphabetic";
    for (let seconds = 0; seconds <= 120; seconds += 30) {
      const x = width - seconds * 2 * step;
      ctx.textAlign = seconds === 0 ? "right" : seconds === 120 ? "left" : "center";
      ctx.fillText(seconds === 0 ? "now" : `−${seconds} s`, x, height - 3);
    }
    ctx.textAlign = "left";
    ctx.fillText(`tokens/s, up to ${count(Math.round(most))}`, 2, height - AXIS - PACE + 12);
    return false;
  }

  #pace(ctx: Ctx, step: number, most: number): void {
    const { width, height } = this.#canvas;
    const floor = height - AXIS;
    ctx.strokeStyle = colors().accent;
    ctx.lineWidth = 1.6;
    ctx.beginPath();
    this.#moments.forEach(({ pace }, index) => {
      const x = width - (this.#moments.length - index - 0.5) * step;
      const y = floor - (pace / most) * (PACE - 10);
      if (index === 0) ctx.moveTo(x, y);
      else ctx.lineTo(x, y);
    });
    ctx.stroke();
    ctx.fillStyle = colors().line;
    ctx.fillRect(0, floor, width, 1);
  }

  /** The rows as they are now, in words. */
  #tell(rows: readonly Row[]): void {
    if (this.#cells.length !== rows.length) {
      this.#cells = rows.map(() => h("li", {}));
      this.#now.replaceChildren(...this.#cells);
    }
    rows.forEach((row, index) => {
      const cell = this.#cells[index];
      if (!cell) return;
      const kind = kindOf(row);
      mark(cell, "data-kind", kind);
      mark(cell, "title", KINDS[kind].label);
      say(cell, row ? String(row.tokens) : "·");
    });
  }

  #repaint(): void {
    this.#isStale = true;
    loop.wake();
  }
}
