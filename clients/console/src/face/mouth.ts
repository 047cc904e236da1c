import type { Ctx } from "../ui/canvas.js";
import { MIDDLE } from "./bust.js";
import { SIDES } from "./eyes.js";
import type { Look } from "./look.js";
import type { Reader, Side } from "./shapes.js";

const MOUTH_Y = 212;

interface Point {
  x: number;
  y: number;
}

/** Where the corners and the four edges of the lips are. */
interface Mouth {
  left: Point;
  right: Point;
  middle: number;
  upper: number;
  lower: number;
  top: number;
  bottom: number;
}

/** The control of a curve that passes through `y` halfway between two ends. */
function bend(y: number, a: Point, b: Point): number {
  return 2 * y - (a.y + b.y) / 2;
}

/** Where such a curve is at `x`. */
function heightAt(x: number, control: number, a: Point, b: Point): number {
  const t = Math.max(0, Math.min(1, (x - a.x) / (b.x - a.x || 1)));
  return (1 - t) ** 2 * a.y + 2 * t * (1 - t) * control + t * t * b.y;
}

function corner(face: Reader, side: Side, sign: 1 | -1): Point {
  const round = 14 * face.of("mouthPucker") + 9 * face.of("mouthFunnel");
  const smile = face.side("mouthSmile", side);
  const stretch = face.side("mouthStretch", side);
  const dimple = face.side("mouthDimple", side);
  const frown = face.side("mouthFrown", side);
  const press = face.side("mouthPress", side);
  const shift = 9 * (face.of("mouthLeft") - face.of("mouthRight"));
  return {
    x: MIDDLE + shift + sign * (31 + 11 * smile + 11 * stretch + 6 * dimple - round),
    y: MOUTH_Y + 13 * frown + 6 * press + 5 * face.of("jawOpen") + 4 * stretch - 17 * smile - 3 * dimple,
  };
}

function shape(face: Reader): Mouth {
  const [left, right] = [corner(face, "Left", 1), corner(face, "Right", -1)];
  const smile = face.both("mouthSmile");
  const frown = face.both("mouthFrown");
  const funnel = face.of("mouthFunnel");
  const round = Math.max(face.of("mouthPucker"), funnel);
  const open = face.of("jawOpen") * (1 - face.of("mouthClose"));
  const press = face.both("mouthPress");
  const chin = 5 * face.of("mouthShrugLower");
  const seam = MOUTH_Y + 3 * smile - 3 * frown - chin;
  const upper = seam - 7 * face.both("mouthUpperUp") - 3 * funnel;
  const lower = seam + 38 * open + 11 * face.both("mouthLowerDown") + 5 * funnel;
  const full = (roll: number) => Math.max(0.15, 1 - 0.55 * press - 0.7 * roll + 0.5 * round);
  return {
    left,
    right,
    middle: (left.x + right.x) / 2,
    upper,
    lower,
    top: 7 * full(face.of("mouthRollUpper")),
    bottom: 9 * full(face.of("mouthRollLower")),
  };
}

export function mouth(ctx: Ctx, look: Look, face: Reader): void {
  const it = shape(face);
  const { left, right, middle } = it;
  const lens = (above: number, below: number) => {
    ctx.beginPath();
    ctx.moveTo(right.x, right.y);
    ctx.quadraticCurveTo(middle, bend(above, left, right), left.x, left.y);
    ctx.quadraticCurveTo(middle, bend(below, left, right), right.x, right.y);
    ctx.closePath();
  };
  ctx.lineJoin = "round";
  ctx.lineCap = "round";
  const [top, bottom] = [it.top * look.lipWeight, it.bottom * look.lipWeight];
  lens(it.upper - top, it.lower + bottom);
  ctx.fillStyle = look.lip;
  ctx.fill();
  lens(it.upper, it.lower);
  ctx.fillStyle = "#2c0f14";
  ctx.fill();
  if (it.lower - it.upper > 2.5) {
    ctx.save();
    ctx.clip();
    inside(ctx, look, face, it);
    ctx.restore();
  }
  ctx.strokeStyle = look.line;
  ctx.lineWidth = 2.2;
  lens(it.upper, it.lower);
  ctx.stroke();
  // A light on the lower lip.
  ctx.strokeStyle = "rgb(255 255 255 / 0.22)";
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.moveTo(middle - 8, it.lower + bottom * 0.62);
  ctx.quadraticCurveTo(middle, it.lower + bottom * 0.8, middle + 8, it.lower + bottom * 0.62);
  ctx.stroke();
  folds(ctx, look, face, it);
}

function inside(ctx: Ctx, look: Look, face: Reader, it: Mouth): void {
  const gap = it.lower - it.upper;
  const { left, right, middle } = it;
  if (gap > 12) {
    ctx.fillStyle = "#a34a50";
    ctx.beginPath();
    ctx.ellipse(
      middle,
      it.lower + 2 - 8 * face.of("tongueOut"),
      16,
      Math.min(12, gap * 0.4),
      0,
      0,
      Math.PI * 2,
    );
    ctx.fill();
  }
  const upper = bend(it.upper, left, right);
  const lower = bend(it.lower, left, right);
  const ivory = look.teeth === "skull" || look.teeth === "sharp" ? "#e6dcb9" : "#f8f4e8";
  ctx.fillStyle = ivory;
  const bared = Math.max(face.both("mouthUpperUp"), face.both("mouthStretch"));
  const depth = Math.min(9, 0.42 * gap + 4 * bared);
  row(ctx, it, upper, depth, 1);
  if (face.both("mouthLowerDown") + face.both("mouthStretch") > 0.5 || look.teeth === "skull") {
    row(ctx, it, lower, Math.min(7, 0.3 * gap), -1);
  }
  const heights = {
    upper: (x: number) => heightAt(x, upper, right, left),
    lower: (x: number) => heightAt(x, lower, right, left),
  };
  if (look.teeth === "fangs" || look.teeth === "tusks") {
    const long = Math.min(gap * 0.9, 15);
    for (const [, sign] of SIDES) {
      const x = middle + sign * 14;
      tooth(ctx, x, heights.upper(x), 4, long);
      if (look.teeth === "tusks") tooth(ctx, x - sign * 3, heights.lower(x), 3.5, -long * 0.8);
    }
  }
  if (look.teeth === "sharp") {
    for (let step = -3; step <= 3; step += 1) {
      const x = middle + step * 7.5;
      tooth(ctx, x, heights.upper(x), 3.4, Math.min(gap * 0.7, 10));
      tooth(ctx, x + 3.6, heights.lower(x), 3, -Math.min(gap * 0.4, 7));
    }
  }
  if (look.teeth === "skull" || look.teeth === "human") {
    ctx.strokeStyle = look.teeth === "skull" ? "rgb(60 48 20 / 0.6)" : "rgb(60 48 40 / 0.18)";
    ctx.lineWidth = 1;
    for (let step = -3; step <= 3; step += 1) {
      const x = middle + step * 8;
      ctx.beginPath();
      ctx.moveTo(x, heights.upper(x));
      ctx.lineTo(x, heights.upper(x) + depth);
      ctx.stroke();
    }
  }
}

/** A row of teeth along an edge of the lips; `way` is 1 downward. */
function row(ctx: Ctx, { left, right, middle }: Mouth, control: number, depth: number, way: 1 | -1): void {
  ctx.beginPath();
  ctx.moveTo(right.x, right.y - way * 2);
  ctx.quadraticCurveTo(middle, control - way * 4, left.x, left.y - way * 2);
  ctx.quadraticCurveTo(middle, control + way * depth * 2, right.x, right.y - way * 2);
  ctx.fill();
}

function tooth(ctx: Ctx, x: number, y: number, half: number, long: number): void {
  const back = long > 0 ? -2 : 2;
  ctx.beginPath();
  ctx.moveTo(x - half, y + back);
  ctx.quadraticCurveTo(x - half * 0.3, y + long * 0.5, x, y + long);
  ctx.quadraticCurveTo(x + half * 0.3, y + long * 0.5, x + half, y + back);
  ctx.fill();
}

/** Folds that a mouth makes around itself. */
function folds(ctx: Ctx, look: Look, face: Reader, it: Mouth): void {
  ctx.strokeStyle = look.line;
  for (const [side, sign] of SIDES) {
    const at = side === "Left" ? it.left : it.right;
    const smile = face.side("mouthSmile", side);
    const pull = Math.max(face.side("mouthDimple", side), smile * 0.8, face.side("mouthStretch", side) * 0.5);
    if (pull > 0.05) {
      ctx.globalAlpha = Math.min(0.7, pull);
      ctx.lineWidth = 2.4;
      ctx.beginPath();
      ctx.moveTo(at.x + sign * 4, at.y - 11);
      ctx.quadraticCurveTo(at.x + sign * 12, at.y - 1, at.x + sign * 5, at.y + 9);
      ctx.stroke();
    }
    const raise = Math.max(smile * 0.7, face.side("noseSneer", side), face.side("mouthUpperUp", side) * 0.6);
    if (raise > 0.1) {
      ctx.globalAlpha = Math.min(0.5, raise * 0.6);
      ctx.lineWidth = 2;
      ctx.beginPath();
      ctx.moveTo(MIDDLE + sign * 18, 178);
      ctx.quadraticCurveTo(MIDDLE + sign * (34 + 6 * smile), 186, at.x + sign * 8, at.y - 14);
      ctx.stroke();
    }
  }
  const chin = Math.max(
    face.both("mouthPress") * 0.8,
    face.of("mouthShrugLower"),
    face.both("mouthFrown") * 0.5,
  );
  if (chin > 0.05) {
    ctx.globalAlpha = Math.min(0.6, chin);
    ctx.lineWidth = 2.2;
    const y = it.lower + it.bottom + 9;
    ctx.beginPath();
    ctx.moveTo(MIDDLE - 14, y + 3);
    ctx.quadraticCurveTo(MIDDLE, y - 4, MIDDLE + 14, y + 3);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}
