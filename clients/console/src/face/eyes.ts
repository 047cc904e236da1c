import type { Ctx } from "../ui/canvas.js";
import { MIDDLE } from "./bust.js";
import type { Look } from "./look.js";
import type { Paints } from "./paints.js";
import type { Reader, Side } from "./shapes.js";

/** Where the eyes are. */
const EYE_X = 35;
const EYE_Y = 136;
const HALF = 22;

/** Sides of the face: the character's left is on the right of the picture. */
export const SIDES: readonly (readonly [Side, 1 | -1])[] = [
  ["Left", 1],
  ["Right", -1],
];

/** The dark around the eyes. */
export function sockets(ctx: Ctx, look: Look, paints: Paints): void {
  for (const [, sign] of SIDES) {
    const x = MIDDLE + sign * EYE_X;
    const shade = paints.get(`socket ${sign}`, () => {
      const shade = ctx.createRadialGradient(x, EYE_Y, 4, x, EYE_Y, 36);
      const dark = look.glow ? "#0b0d0f" : look.skin.shade;
      shade.addColorStop(0, dark);
      shade.addColorStop(look.glow ? 0.62 : 0.4, dark);
      shade.addColorStop(1, "rgb(0 0 0 / 0)");
      return shade;
    });
    ctx.globalAlpha = look.socket;
    ctx.fillStyle = shade;
    ctx.beginPath();
    ctx.ellipse(x, EYE_Y, 33, look.glow ? 30 : 27, 0, 0, Math.PI * 2);
    ctx.fill();
  }
  ctx.globalAlpha = 1;
}

export function eye(ctx: Ctx, look: Look, face: Reader, side: Side, sign: 1 | -1): void {
  const x = MIDDLE + sign * EYE_X;
  const blink = face.side("eyeBlink", side);
  const squint = face.side("eyeSquint", side);
  const wide = face.side("eyeWide", side);
  const toward = (open: number, shut: number) => open + (shut - open) * blink;
  // Heights of the lids above and below the line through the corners; a curve's control is twice as far.
  const upper = toward(10.5 + 6 * wide - 4.5 * squint, -4) * 2;
  const lower = toward(7.5 + 2 * wide - 5 * squint, 4) * 2;
  const [from, to] = [x - HALF, x + HALF];
  // The outer corner is a little higher.
  const [fromY, toY] = sign === 1 ? [EYE_Y + 1, EYE_Y - 2] : [EYE_Y - 2, EYE_Y + 1];

  ctx.beginPath();
  ctx.moveTo(from, fromY);
  ctx.quadraticCurveTo(x, EYE_Y - upper, to, toY);
  ctx.quadraticCurveTo(x, EYE_Y + lower, from, fromY);
  ctx.closePath();
  ctx.fillStyle = look.sclera;
  ctx.fill();
  if (upper + lower > 3) {
    ctx.save();
    ctx.clip();
    iris(ctx, look, face, side, sign, x, upper);
    ctx.restore();
  }
  lids(ctx, look, { x, from, to, fromY, toY, upper, lower, sign, blink });
}

function iris(ctx: Ctx, look: Look, face: Reader, side: Side, sign: 1 | -1, x: number, upper: number): void {
  const out = face.side("eyeLookOut", side) - face.side("eyeLookIn", side);
  const up = face.side("eyeLookUp", side) - face.side("eyeLookDown", side);
  const [cx, cy] = [x + sign * 12 * out, EYE_Y - 8 * up];
  const color = side === "Left" ? look.iris.left : look.iris.right;
  const radius = look.glow ? 6.5 : 10;
  if (look.glow) {
    const light = ctx.createRadialGradient(cx, cy, 1, cx, cy, 18);
    light.addColorStop(0, "#eafffb");
    light.addColorStop(0.25, color);
    light.addColorStop(1, "rgb(0 0 0 / 0)");
    ctx.fillStyle = light;
    ctx.fillRect(cx - 20, cy - 20, 40, 40);
    return;
  }
  circle(ctx, cx, cy, radius, look.line);
  circle(ctx, cx, cy, radius - 1.4, color);
  circle(ctx, cx, cy + 1.5, radius - 4, "rgb(255 255 255 / 0.16)");
  circle(ctx, cx, cy, 4.4, "#0d0a0b");
  circle(ctx, cx + 3, cy - 3.2, 2, "rgb(255 255 255 / 0.92)");
  // The shadow of the upper lid.
  ctx.fillStyle = "rgb(20 10 20 / 0.2)";
  ctx.beginPath();
  ctx.ellipse(x, EYE_Y - upper * 0.62, HALF + 2, 6, 0, 0, Math.PI * 2);
  ctx.fill();
}

interface Lids {
  x: number;
  from: number;
  to: number;
  fromY: number;
  toY: number;
  upper: number;
  lower: number;
  sign: 1 | -1;
  blink: number;
}

function lids(ctx: Ctx, look: Look, lid: Lids): void {
  const { x, from, to, fromY, toY, upper, lower } = lid;
  ctx.lineCap = "round";
  ctx.strokeStyle = look.line;
  ctx.lineWidth = look.glow ? 2 : 3.4;
  ctx.beginPath();
  ctx.moveTo(from, fromY);
  ctx.quadraticCurveTo(x, EYE_Y - upper, to, toY);
  ctx.stroke();
  ctx.lineWidth = 1.4;
  ctx.globalAlpha = 0.7;
  ctx.beginPath();
  ctx.moveTo(from, fromY);
  ctx.quadraticCurveTo(x, EYE_Y + lower, to, toY);
  ctx.stroke();
  // The fold above the eye, which goes as the lid comes down.
  ctx.globalAlpha = 0.45 * (1 - lid.blink);
  ctx.lineWidth = 1.6;
  ctx.beginPath();
  ctx.moveTo(from + 3, fromY - 7);
  ctx.quadraticCurveTo(x, EYE_Y - Math.max(upper, 4) - 9, to - 3, toY - 7);
  ctx.stroke();
  ctx.globalAlpha = 1;
}

/** A brow, thick at the nose. */
export function brow(ctx: Ctx, look: Look, face: Reader, side: Side, sign: 1 | -1): void {
  if (look.browWeight === 0) return;
  const inner = face.of("browInnerUp");
  const down = face.side("browDown", side);
  const outer = face.side("browOuterUp", side);
  // Raised and lowered at once, the inner ends rise and come together.
  const low = down * (1 - 0.85 * inner);
  const at = (x: number) => MIDDLE + sign * x;
  const thick = (8.5 + 2.5 * low) * look.browWeight;
  const [x1, y1] = [15 - 7 * down, 112 - 18 * inner + 21 * low];
  const [x2, y2] = [38, 95 - 7 * inner * (1 - down) + 2 * inner * down - 15 * outer + 15 * low];
  const [x3, y3] = [64, 111 - 14 * outer + 2 * down];
  ctx.fillStyle = look.brow;
  ctx.beginPath();
  ctx.moveTo(at(x1), y1 - thick / 2);
  ctx.quadraticCurveTo(at(x2), y2 - thick / 2, at(x3), y3);
  ctx.quadraticCurveTo(at(x2), y2 + thick * 0.75, at(x1), y1 + thick / 2);
  ctx.quadraticCurveTo(at(x1 - 3), y1, at(x1), y1 - thick / 2);
  ctx.fill();
}

/** The lines between the brows and on the forehead. */
export function frown(ctx: Ctx, look: Look, face: Reader): void {
  const angry = face.both("browDown");
  const raised = Math.max(face.of("browInnerUp"), face.both("browOuterUp"));
  ctx.strokeStyle = look.line;
  ctx.lineCap = "round";
  if (angry > 0.08) {
    ctx.globalAlpha = Math.min(0.75, angry);
    ctx.lineWidth = 2;
    for (const [, sign] of SIDES) {
      ctx.beginPath();
      ctx.moveTo(MIDDLE + sign * 5, 118);
      ctx.quadraticCurveTo(MIDDLE + sign * 3, 108, MIDDLE + sign * 6, 98 - 4 * angry);
      ctx.stroke();
    }
  }
  if (raised > 0.15) {
    ctx.globalAlpha = Math.min(0.4, raised * 0.5);
    ctx.lineWidth = 1.5;
    for (const [y, half] of [
      [92, 26],
      [83, 20],
    ] as const) {
      ctx.beginPath();
      ctx.moveTo(MIDDLE - half, y + 1 - 4 * raised);
      ctx.quadraticCurveTo(MIDDLE, y - 4 - 6 * raised, MIDDLE + half, y + 1 - 4 * raised);
      ctx.stroke();
    }
  }
  ctx.globalAlpha = 1;
}

function circle(ctx: Ctx, x: number, y: number, radius: number, paint: string): void {
  ctx.fillStyle = paint;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, Math.PI * 2);
  ctx.fill();
}
