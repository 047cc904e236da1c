import { REGIONS } from "../face/units.js";
import type { Score } from "../talk/score.js";
import type { Canvas, Ctx } from "../ui/canvas.js";
import { percent } from "../ui/format.js";
import { type Palette, tint } from "../ui/palette.js";
import type { Finger, Painter } from "./orders.js";

/** Room for the names of the rows. */
export const GUTTER = 58;
/** Heights of the rows, from the top. */
const AXIS = 16;
const WORDS = 20;
const FEELING = 46;
const REGION = 10;
const ACTS = 22;
/** A feeling takes so long to come, on the picture. */
const ONSET_MS = 220;

/** Draws a turn: words, feeling, face and acts on one axis. */
export class TimelinePainter implements Painter<Score> {
  #score: Score | undefined;
  #turn: OffscreenCanvas | undefined;

  paint(canvas: Canvas, score: Score, palette: Palette, anew: boolean, finger: Finger | null): void {
    // The turn changes now and then, the finger all the time.
    if (anew || score !== this.#score || !this.#turn) {
      this.#score = score;
      this.#turn = canvas.layer((ctx) => drawTurn(canvas, ctx, score, palette));
    }
    const ctx = canvas.begin();
    canvas.lay(this.#turn);
    if (finger) drawFinger(canvas, ctx, placeOf(canvas, score, finger.t), palette, finger.isHeld);
  }
}

function placeOf({ width }: Canvas, { span }: Score, t: number): number {
  return GUTTER + (t / span) * (width - GUTTER);
}

function drawFinger({ height }: Canvas, ctx: Ctx, x: number, { ink, accent }: Palette, isHeld: boolean): void {
  ctx.globalAlpha = isHeld ? 1 : 0.75;
  ctx.fillStyle = isHeld ? accent : ink;
  ctx.fillRect(x - 1, 0, 2, height);
  ctx.globalAlpha = 1;
}

function drawTurn(canvas: Canvas, ctx: Ctx, score: Score, palette: Palette): void {
  const { width, height } = canvas;
  const x = (t: number) => placeOf(canvas, score, t);
  const axis = { ctx, palette, width, x };
  ctx.textBaseline = "middle";
  let y = 0;
  drawAxis(axis, score.span, height);
  y += AXIS;
  row(axis, "words", y, WORDS);
  drawWords(axis, score, y + WORDS / 2);
  y += WORDS;
  row(axis, "feeling", y, FEELING);
  drawFeeling(axis, score, y + 2, FEELING - 4);
  y += FEELING + 4;
  drawFace(axis, score, y);
  y += REGION * REGIONS.length + 4;
  row(axis, "acts", y, ACTS);
  drawActs(axis, score, y + ACTS / 2);
  if (score.cut !== undefined) drawCut(axis, score.cut, height);
}

interface Axis {
  ctx: Ctx;
  palette: Palette;
  width: number;
  x(t: number): number;
}

function drawAxis({ ctx, palette, x, width }: Axis, span: number, height: number): void {
  const room = (width - GUTTER) / (span / 1000);
  const every = [1, 2, 5, 10, 20, 60].find((s) => s * room >= 44) ?? 120;
  ctx.font = "10px system-ui, sans-serif";
  ctx.textAlign = "left";
  for (let s = 0; s * 1000 < span; s += every) {
    ctx.fillStyle = palette.line;
    ctx.fillRect(Math.round(x(s * 1000)), 2, 1, height - 2);
    ctx.fillStyle = palette.soft;
    ctx.fillText(`${s} s`, x(s * 1000) + 4, 8);
  }
}

function row({ ctx, palette, width }: Axis, name: string, y: number, height: number): void {
  ctx.fillStyle = palette.line;
  ctx.fillRect(0, y, width, 1);
  ctx.fillStyle = palette.soft;
  ctx.font = "10.5px system-ui, sans-serif";
  ctx.textAlign = "left";
  ctx.fillText(name, 2, y + height / 2 + 0.5);
}

function drawWords({ ctx, palette, x }: Axis, { words }: Score, y: number): void {
  ctx.font = "11px system-ui, sans-serif";
  ctx.textAlign = "left";
  let free = 0;
  for (const { text, from, to } of words) {
    const [left, right] = [x(from), x(to)];
    ctx.fillStyle = palette.accent;
    ctx.fillRect(left, y + 8, Math.max(1, right - left - 1.5), 1.5);
    if (left < free) continue;
    const wide = ctx.measureText(text).width;
    ctx.fillStyle = wide > right - left + 14 ? palette.faint : palette.ink;
    ctx.fillText(text, left, y - 1);
    free = left + wide + 4;
  }
}

/** The curve of the feeling: how strong, in the color of which. */
function drawFeeling({ ctx, palette, x }: Axis, score: Score, top: number, height: number): void {
  const at = (intensity: number) => top + height * (1 - Math.min(1, intensity));
  let before = 0;
  let free = 0;
  score.feelings.forEach(({ t, label, intensity }, index) => {
    const next = score.feelings[index + 1]?.t ?? score.feltTo;
    const come = Math.min(t + ONSET_MS, Math.max(next, t));
    const strength = label === "neutral" ? 0.04 : intensity;
    const color = tint(palette, label);
    const middle = x((t + come) / 2);
    ctx.beginPath();
    ctx.moveTo(x(t), at(before));
    ctx.bezierCurveTo(middle, at(before), middle, at(strength), x(come), at(strength));
    ctx.lineTo(x(next), at(strength));
    ctx.strokeStyle = color;
    ctx.lineWidth = 2;
    ctx.stroke();
    ctx.lineTo(x(next), at(0));
    ctx.lineTo(x(t), at(0));
    ctx.closePath();
    ctx.globalAlpha = 0.28;
    ctx.fillStyle = color;
    ctx.fill();
    ctx.globalAlpha = 1;
    const left = x(t) + 4;
    if (left >= free) {
      ctx.fillStyle = palette.ink;
      ctx.font = "10.5px system-ui, sans-serif";
      const text = label === "neutral" ? "neutral" : `${label} ${percent(intensity)}`;
      ctx.fillText(text, left, at(0) - 7);
      free = left + ctx.measureText(text).width + 6;
    }
    before = strength;
  });
}

/** How much each part of the face does. */
function drawFace({ ctx, palette, x, width }: Axis, { face, faceTo }: Score, y: number): void {
  ctx.font = "9px system-ui, sans-serif";
  ctx.textAlign = "left";
  REGIONS.forEach((region, index) => {
    const floor = y + index * REGION + REGION - 2;
    ctx.fillStyle = palette.soft;
    ctx.fillText(region === "cheeks and nose" ? "nose" : region, 2, y + index * REGION + REGION / 2);
    ctx.fillStyle = palette.line;
    ctx.fillRect(GUTTER, floor, width - GUTTER, 1);
    const samples = face[index];
    if (!samples) return;
    // One outline for each region: a picture of hundreds of bars takes several times as long.
    const step = (x(faceTo) - GUTTER) / Math.max(1, samples.length - 1);
    ctx.beginPath();
    ctx.moveTo(GUTTER, floor);
    samples.forEach((much, place) => {
      ctx.lineTo(GUTTER + place * step, floor - much * (REGION - 1));
    });
    ctx.lineTo(x(faceTo), floor);
    ctx.fillStyle = palette.accent;
    ctx.fill();
  });
}

/** What is proposed, and how the relationship moves. */
function drawActs({ ctx, palette, x, width }: Axis, { acts }: Score, y: number): void {
  ctx.font = "10.5px system-ui, sans-serif";
  let free = 0;
  for (const { t, text, color, out } of acts) {
    const wide = ctx.measureText(text).width;
    const mark = x(t);
    ctx.fillStyle = palette[color];
    ctx.beginPath();
    ctx.moveTo(mark, y - 4);
    ctx.lineTo(mark + 5, y);
    ctx.lineTo(mark, y + 4);
    ctx.fill();
    // At the end of the axis it stands before its mark.
    const left = mark + 8 + wide < width ? mark + 8 : mark - wide - 4;
    if (left < free) continue;
    ctx.fillText(text, left, y + 0.5);
    if (out) ctx.fillRect(left, y, wide, 1);
    free = left + wide + 6;
  }
}

function drawCut({ ctx, palette, x, width }: Axis, t: number, height: number): void {
  ctx.globalAlpha = 0.6;
  ctx.fillStyle = palette.panel;
  ctx.fillRect(x(t), 0, width - x(t), height);
  ctx.globalAlpha = 1;
  ctx.fillStyle = palette.warn;
  ctx.fillRect(x(t) - 1, 2, 2, height - 2);
}
