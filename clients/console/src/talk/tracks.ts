import { noUnits, REGIONS, strongest } from "../face/units.js";
import { isGood } from "../inspect/bond.js";
import type { TurnRecord } from "../turn/record.js";
import type { Canvas } from "../ui/canvas.js";
import { percent, signed } from "../ui/format.js";
import { colors, feeling } from "../ui/theme.js";

type Ctx = CanvasRenderingContext2D;

/** Room for the names of the rows. */
export const GUTTER = 58;
/** Heights of the rows, from the top. */
const AXIS = 16;
const WORDS = 20;
const FEELING = 46;
const REGION = 10;
const ACTS = 22;
/** All of them. */
export const TIMELINE_HEIGHT = AXIS + WORDS + FEELING + REGION * 5 + ACTS + 10;
/** A feeling takes so long to come, on the picture. */
const ONSET_MS = 220;
/** Between two samples of the face, in units of the page. */
const SAMPLE = 3;

/** How much time the axis has room for: grows in steps, so that it does not shake. */
export function spanOf(record: TurnRecord | undefined): number {
  const end = record?.endMs ?? 0;
  return Math.max(4000, Math.ceil((end + 200) / 2000) * 2000);
}

/** Draws a turn: words, feeling, face and acts on one axis. */
export function drawTimeline(canvas: Canvas, record: TurnRecord | undefined, span: number): void {
  const ctx = canvas.begin();
  const axis = { ctx, width: canvas.width, x: (t: number) => GUTTER + (t / span) * (canvas.width - GUTTER) };
  ctx.textBaseline = "middle";
  let y = 0;
  drawAxis(axis, span, canvas.height);
  y += AXIS;
  row(axis, "words", y, WORDS);
  if (record) drawWords(axis, record, y + WORDS / 2);
  y += WORDS;
  row(axis, "feeling", y, FEELING);
  if (record) drawFeeling(axis, record, y + 2, FEELING - 4);
  y += FEELING + 4;
  drawFace(axis, record, y);
  y += REGION * REGIONS.length + 4;
  row(axis, "acts", y, ACTS);
  if (record) drawActs(axis, record, y + ACTS / 2);
  if (record?.cancelled) drawCut(axis, record.cancelled.t_ms, canvas.height);
}

interface Axis {
  ctx: Ctx;
  width: number;
  x(t: number): number;
}

function drawAxis({ ctx, x, width }: Axis, span: number, height: number): void {
  const { soft, line } = colors();
  const room = (width - GUTTER) / (span / 1000);
  const every = [1, 2, 5, 10, 20, 60].find((s) => s * room >= 44) ?? 120;
  ctx.font = "10px system-ui, sans-serif";
  ctx.textAlign = "left";
  for (let s = 0; s * 1000 < span; s += every) {
    ctx.fillStyle = line;
    ctx.fillRect(Math.round(x(s * 1000)), 2, 1, height - 2);
    ctx.fillStyle = soft;
    ctx.fillText(`${s} s`, x(s * 1000) + 4, 8);
  }
}

function row({ ctx, width }: Axis, name: string, y: number, height: number): void {
  const { soft, line } = colors();
  ctx.fillStyle = line;
  ctx.fillRect(0, y, width, 1);
  ctx.fillStyle = soft;
  ctx.font = "10.5px system-ui, sans-serif";
  ctx.textAlign = "left";
  ctx.fillText(name, 2, y + height / 2 + 0.5);
}

function drawWords({ ctx, x }: Axis, record: TurnRecord, y: number): void {
  const { ink, faint, accent } = colors();
  ctx.font = "11px system-ui, sans-serif";
  ctx.textAlign = "left";
  let free = 0;
  for (const { text, from, to } of record.speech.words()) {
    const [left, right] = [x(from), x(to)];
    ctx.fillStyle = accent;
    ctx.fillRect(left, y + 8, Math.max(1, right - left - 1.5), 1.5);
    if (left < free) continue;
    const wide = ctx.measureText(text).width;
    ctx.fillStyle = wide > right - left + 14 ? faint : ink;
    ctx.fillText(text, left, y - 1);
    free = left + wide + 4;
  }
}

/** The curve of the feeling: how strong, in the color of which. */
function drawFeeling({ ctx, x }: Axis, record: TurnRecord, top: number, height: number): void {
  const { ink } = colors();
  const end = record.cancelled?.t_ms ?? Math.max(record.endMs, record.emotions.at(-1)?.t_ms ?? 0);
  const at = (intensity: number) => top + height * (1 - Math.min(1, intensity));
  let before = 0;
  let free = 0;
  record.emotions.forEach((felt, index) => {
    const next = record.emotions[index + 1]?.t_ms ?? end;
    const come = Math.min(felt.t_ms + ONSET_MS, Math.max(next, felt.t_ms));
    const strength = felt.label === "neutral" ? 0.04 : felt.intensity;
    const color = feeling(felt.label);
    ctx.beginPath();
    ctx.moveTo(x(felt.t_ms), at(before));
    ctx.bezierCurveTo(
      x((felt.t_ms + come) / 2),
      at(before),
      x((felt.t_ms + come) / 2),
      at(strength),
      x(come),
      at(strength),
    );
    ctx.lineTo(x(next), at(strength));
    ctx.strokeStyle = color;
    ctx.lineWidth = 2;
    ctx.stroke();
    ctx.lineTo(x(next), at(0));
    ctx.lineTo(x(felt.t_ms), at(0));
    ctx.closePath();
    ctx.globalAlpha = 0.28;
    ctx.fillStyle = color;
    ctx.fill();
    ctx.globalAlpha = 1;
    const left = x(felt.t_ms) + 4;
    if (left >= free) {
      ctx.fillStyle = ink;
      ctx.font = "10.5px system-ui, sans-serif";
      const text = felt.label === "neutral" ? "neutral" : `${felt.label} ${percent(felt.intensity)}`;
      ctx.fillText(text, left, at(0) - 7);
      free = left + ctx.measureText(text).width + 6;
    }
    before = strength;
  });
}

/** How much each part of the face does. */
function drawFace({ ctx, x, width }: Axis, record: TurnRecord | undefined, y: number): void {
  const { soft, line, accent } = colors();
  ctx.font = "9px system-ui, sans-serif";
  ctx.textAlign = "left";
  REGIONS.forEach((region, index) => {
    ctx.fillStyle = soft;
    ctx.fillText(region === "cheeks and nose" ? "nose" : region, 2, y + index * REGION + REGION / 2);
    ctx.fillStyle = line;
    ctx.fillRect(GUTTER, y + index * REGION + REGION - 2, width - GUTTER, 1);
  });
  if (!record || record.face.length === 0) return;
  const units = noUnits();
  const end = x(record.face.endMs);
  const msPerUnit = record.face.endMs / Math.max(1, end - GUTTER);
  const floors = REGIONS.map((_, index) => y + index * REGION + REGION - 2);
  // One outline for each region: a picture of hundreds of bars takes several times as long.
  const outlines = floors.map((floor) => {
    const outline = new Path2D();
    outline.moveTo(GUTTER, floor);
    return outline;
  });
  for (let left = GUTTER; left <= end; left += SAMPLE) {
    record.face.unitsAt((left - GUTTER) * msPerUnit, units);
    REGIONS.forEach((region, index) => {
      outlines[index]?.lineTo(left, (floors[index] ?? 0) - strongest(units, region) * (REGION - 1));
    });
  }
  ctx.fillStyle = accent;
  outlines.forEach((outline, index) => {
    outline.lineTo(end, floors[index] ?? 0);
    ctx.fill(outline);
  });
}

/** What is proposed, and how the relationship moves. */
function drawActs({ ctx, x, width }: Axis, record: TurnRecord, y: number): void {
  const { ink, faint, warn, good } = colors();
  ctx.font = "10.5px system-ui, sans-serif";
  const social = record.socials.flatMap(({ delta, t_ms }) => {
    const [axis, change] = Object.entries(delta).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a))[0] ?? [
      "",
      0,
    ];
    return axis === ""
      ? []
      : [{ t_ms, text: `${axis} ${signed(change)}`, color: isGood(axis, change) ? good : warn, out: false }];
  });
  const acts = record.actions.map(({ name, t_ms, p, retracted }) => {
    return { t_ms, text: `${name} ${percent(p)}`, color: retracted ? faint : ink, out: retracted };
  });
  let free = 0;
  for (const { t_ms, text, color, out } of [...social, ...acts].sort((a, b) => a.t_ms - b.t_ms)) {
    const wide = ctx.measureText(text).width;
    const mark = x(t_ms);
    ctx.fillStyle = color;
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

function drawCut({ ctx, x, width }: Axis, t: number, height: number): void {
  const { warn, panel } = colors();
  ctx.globalAlpha = 0.6;
  ctx.fillStyle = panel;
  ctx.fillRect(x(t), 0, width - x(t), height);
  ctx.globalAlpha = 1;
  ctx.fillStyle = warn;
  ctx.fillRect(x(t) - 1, 2, 2, height - 2);
}
