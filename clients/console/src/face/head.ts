import type { Ctx } from "../ui/canvas.js";
import { behind, bust, ears, MIDDLE } from "./bust.js";
import { brow, eye, frown, SIDES, sockets } from "./eyes.js";
import { front } from "./hair.js";
import type { Look } from "./look.js";
import { mouth } from "./mouth.js";
import type { Paints } from "./paints.js";
import { type Pose, Reader } from "./shapes.js";

/** The box that a head is drawn in. */
export const WIDTH = 240;
export const HEIGHT = 300;

const face = new Reader();

/** What stands behind the face, and does not move. */
export function drawBehind(ctx: Ctx, look: Look): void {
  soften(ctx);
  behind(ctx, look);
  if (look.ears !== "wolf") ears(ctx, look);
  bust(ctx, look);
  if (look.ears === "wolf") ears(ctx, look);
}

/** What falls over the face, and does not move; the brows are drawn over it. */
export function drawBefore(ctx: Ctx, look: Look): void {
  soften(ctx);
  front(ctx, look);
}

/** Draws a face in its box, from nothing but a look and the weights of the 52 shapes. `before` lays in what falls over it. */
export function drawFace(ctx: Ctx, pose: Pose, look: Look, paints: Paints, before: () => void): void {
  face.at(pose);
  soften(ctx);
  skull(ctx, look, paints);
  sockets(ctx, look, paints);
  cheeks(ctx, look, paints);
  for (const [side, sign] of SIDES) eye(ctx, look, face, side, sign);
  nose(ctx, look);
  mouth(ctx, look, face);
  marks(ctx, look);
  frown(ctx, look, face);
  before();
  for (const [side, sign] of SIDES) brow(ctx, look, face, side, sign);
}

function soften(ctx: Ctx): void {
  ctx.lineCap = "round";
  ctx.lineJoin = "round";
}

/** The outline of the face, with a jaw that opens. */
function outline(ctx: Ctx, look: Look): void {
  const open = face.of("jawOpen") * (1 - 0.5 * face.of("mouthClose"));
  const chin = 252 + 17 * open + 3 * face.of("jawForward");
  const shift = 7 * (face.of("jawLeft") - face.of("jawRight"));
  const puff = 7 * face.of("cheekPuff");
  const jaw = 50 * look.jaw + puff;
  ctx.beginPath();
  ctx.moveTo(47, 120);
  ctx.bezierCurveTo(42, 60, 80, 34, MIDDLE, 34);
  ctx.bezierCurveTo(160, 34, 198, 60, 193, 120);
  ctx.bezierCurveTo(193, 152, 190 - 6 * look.hollow + puff, 186, MIDDLE + jaw + shift, 214 + 7 * open);
  ctx.bezierCurveTo(MIDDLE + jaw * 0.78 + shift, 236 + 9 * open, 142 + shift, chin, MIDDLE + shift, chin);
  ctx.bezierCurveTo(
    98 + shift,
    chin,
    MIDDLE - jaw * 0.78 + shift,
    236 + 9 * open,
    MIDDLE - jaw + shift,
    214 + 7 * open,
  );
  ctx.bezierCurveTo(50 + 6 * look.hollow - puff, 186, 47, 152, 47, 120);
  ctx.closePath();
}

function skull(ctx: Ctx, look: Look, paints: Paints): void {
  outline(ctx, look);
  ctx.fillStyle = paints.get("skin", () => {
    const light = ctx.createRadialGradient(98, 104, 10, MIDDLE, 150, 128);
    light.addColorStop(0, look.skin.light);
    light.addColorStop(0.55, look.skin.base);
    light.addColorStop(1, look.skin.shade);
    return light;
  });
  ctx.fill();
  ctx.strokeStyle = look.line;
  ctx.lineWidth = 2;
  ctx.stroke();
}

/** Hollows and cheekbones, blood in the cheeks, folds under the eyes. */
function cheeks(ctx: Ctx, look: Look, paints: Paints): void {
  for (const [side, sign] of SIDES) {
    const squint = face.side("cheekSquint", side);
    const puff = face.of("cheekPuff");
    if (look.hollow > 0 && puff < 0.5) {
      ctx.globalAlpha = 0.5 * look.hollow * (1 - puff);
      ctx.fillStyle = look.skin.shade;
      ctx.beginPath();
      ctx.moveTo(MIDDLE + sign * 62, 168);
      ctx.quadraticCurveTo(MIDDLE + sign * 44, 186, MIDDLE + sign * 40, 216);
      ctx.quadraticCurveTo(MIDDLE + sign * 62, 206, MIDDLE + sign * 62, 168);
      ctx.fill();
    }
    const warm = Math.max(squint, puff);
    if (warm <= 0.03) continue;
    const glow = paints.get(`blush ${side}`, () => {
      const glow = ctx.createRadialGradient(MIDDLE + sign * 46, 169, 2, MIDDLE + sign * 46, 169, 24);
      glow.addColorStop(0, look.blush);
      glow.addColorStop(1, "rgb(0 0 0 / 0)");
      return glow;
    });
    ctx.globalAlpha = 0.55 * warm;
    ctx.fillStyle = glow;
    ctx.beginPath();
    ctx.arc(MIDDLE + sign * 46, 169, 24, 0, Math.PI * 2);
    ctx.fill();
    ctx.globalAlpha = 0.5 * warm;
    ctx.strokeStyle = look.line;
    ctx.lineWidth = 2;
    ctx.beginPath();
    ctx.moveTo(MIDDLE + sign * 20, 160 - 4 * squint);
    ctx.quadraticCurveTo(MIDDLE + sign * 40, 168 - 9 * squint, MIDDLE + sign * 60, 152 - 5 * squint);
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

function nose(ctx: Ctx, look: Look): void {
  const sneer = face.both("noseSneer");
  if (look.nose === "wolf") wolfNose(ctx, look, sneer);
  else if (look.nose === "none") hole(ctx, look, sneer);
  else humanNose(ctx, look);
  if (sneer <= 0.05) return;
  ctx.strokeStyle = look.line;
  ctx.lineWidth = 2;
  ctx.globalAlpha = Math.min(0.7, sneer);
  for (const [, sign] of SIDES) {
    for (const y of [142, 151]) {
      ctx.beginPath();
      ctx.moveTo(MIDDLE + sign * 3, y);
      ctx.lineTo(MIDDLE + sign * 12, y - 6);
      ctx.stroke();
    }
  }
  ctx.globalAlpha = 1;
}

function humanNose(ctx: Ctx, look: Look): void {
  const wide = look.nose === "flat" ? 3 : 0;
  ctx.strokeStyle = look.line;
  ctx.lineWidth = 2.2;
  // The shadow along one side, then wings and tip.
  ctx.globalAlpha = 0.35;
  ctx.beginPath();
  ctx.moveTo(MIDDLE + 7, 136);
  ctx.quadraticCurveTo(MIDDLE + 5, 158, MIDDLE + 12, 172);
  ctx.stroke();
  ctx.globalAlpha = 0.8;
  for (const [side, sign] of SIDES) {
    const sneer = face.side("noseSneer", side);
    ctx.beginPath();
    ctx.moveTo(MIDDLE + sign * (13 + wide), 170 - 7 * sneer);
    ctx.quadraticCurveTo(
      MIDDLE + sign * (20 + wide + 2 * sneer),
      180 - 8 * sneer,
      MIDDLE + sign * 9,
      183 - 5 * sneer,
    );
    ctx.stroke();
  }
  ctx.beginPath();
  ctx.moveTo(MIDDLE - 6, 184);
  ctx.quadraticCurveTo(MIDDLE, 189, MIDDLE + 6, 184);
  ctx.stroke();
  ctx.globalAlpha = 1;
}

function wolfNose(ctx: Ctx, look: Look, sneer: number): void {
  const y = 174 - 4 * sneer;
  ctx.fillStyle = look.skin.light;
  ctx.globalAlpha = 0.45;
  ctx.beginPath();
  ctx.ellipse(MIDDLE, 192, 38, 28, 0, 0, Math.PI * 2);
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.fillStyle = "#1b1412";
  ctx.beginPath();
  ctx.moveTo(MIDDLE - 17, y - 6);
  ctx.quadraticCurveTo(MIDDLE, y - 15, MIDDLE + 17, y - 6);
  ctx.quadraticCurveTo(MIDDLE + 14, y + 10, MIDDLE, y + 14);
  ctx.quadraticCurveTo(MIDDLE - 14, y + 10, MIDDLE - 17, y - 6);
  ctx.fill();
  ctx.fillStyle = "rgb(255 255 255 / 0.28)";
  ctx.beginPath();
  ctx.ellipse(MIDDLE - 5, y - 6, 6, 2.4, -0.2, 0, Math.PI * 2);
  ctx.fill();
}

function hole(ctx: Ctx, look: Look, sneer: number): void {
  ctx.fillStyle = "#17130c";
  for (const [, sign] of SIDES) {
    ctx.beginPath();
    ctx.moveTo(MIDDLE + sign * 1.5, 160);
    ctx.quadraticCurveTo(MIDDLE + sign * 12, 172 - 3 * sneer, MIDDLE + sign * 9, 184 - 3 * sneer);
    ctx.quadraticCurveTo(MIDDLE + sign * 4, 188, MIDDLE + sign * 1.5, 180);
    ctx.fill();
  }
  ctx.strokeStyle = look.line;
  ctx.lineWidth = 1.2;
  ctx.globalAlpha = 0.5;
  ctx.beginPath();
  ctx.moveTo(MIDDLE, 158);
  ctx.lineTo(MIDDLE, 182);
  ctx.stroke();
  ctx.globalAlpha = 1;
}

function marks(ctx: Ctx, look: Look): void {
  if (look.marks === "none") return;
  ctx.strokeStyle = look.line;
  ctx.globalAlpha = 0.75;
  ctx.lineWidth = 2;
  const line = look.marks === "crack" ? CRACK : STITCH;
  ctx.beginPath();
  line.forEach(([x, y], index) => {
    if (index === 0) ctx.moveTo(x, y);
    else ctx.lineTo(x, y);
  });
  ctx.stroke();
  if (look.marks === "stitches") {
    ctx.lineWidth = 1.6;
    for (const [x, y] of STITCH.slice(1, -1)) {
      ctx.beginPath();
      ctx.moveTo(x - 5, y - 4);
      ctx.lineTo(x + 5, y + 4);
      ctx.stroke();
    }
  }
  ctx.globalAlpha = 1;
}

const CRACK = [
  [150, 44],
  [144, 58],
  [152, 66],
  [146, 80],
  [150, 90],
] as const;

const STITCH = [
  [64, 168],
  [70, 178],
  [74, 188],
  [80, 197],
  [88, 205],
] as const;
