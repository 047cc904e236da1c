import type { Ctx } from "../ui/canvas.js";
import type { Look } from "./look.js";

/** The head is drawn in a box of 240 by 300; this is its middle. */
export const MIDDLE = 120;

/** Draws something on both sides of the face: `sign` is 1 for the character's left, which is on the right. */
export function mirrored(ctx: Ctx, draw: (sign: 1 | -1) => void): void {
  for (const sign of [1, -1] as const) {
    ctx.save();
    ctx.translate(MIDDLE, 0);
    ctx.scale(sign, 1);
    draw(sign);
    ctx.restore();
  }
}

/** Shoulders, and what stands behind the head. */
export function behind(ctx: Ctx, look: Look): void {
  if (look.top === "hood") hood(ctx, look);
  if (look.top === "mane") mane(ctx, look);
  if (look.top === "bob") bob(ctx, look);
  if (look.top === "peak") collar(ctx, look);
}

/** The neck, and what is worn over it. */
export function bust(ctx: Ctx, look: Look): void {
  ctx.fillStyle = look.skin.shade;
  ctx.beginPath();
  ctx.moveTo(88, 214);
  ctx.quadraticCurveTo(90, 262, 78, 304);
  ctx.lineTo(162, 304);
  ctx.quadraticCurveTo(150, 262, 152, 214);
  ctx.fill();
  ctx.fillStyle = look.cloth.base;
  mirrored(ctx, () => {
    ctx.beginPath();
    ctx.moveTo(0, 304);
    ctx.quadraticCurveTo(26, 276, 36, 258);
    ctx.bezierCurveTo(64, 268, 98, 272, 118, 304);
    ctx.fill();
  });
  ctx.strokeStyle = look.cloth.inner;
  ctx.lineWidth = 3;
  mirrored(ctx, () => {
    ctx.beginPath();
    ctx.moveTo(2, 302);
    ctx.quadraticCurveTo(26, 277, 36, 259);
    ctx.stroke();
  });
}

export function ears(ctx: Ctx, look: Look): void {
  if (look.ears === "none") return;
  mirrored(ctx, () => {
    ctx.fillStyle = look.ears === "wolf" ? look.hair.base : look.skin.base;
    ctx.strokeStyle = look.line;
    ctx.lineWidth = 1.6;
    ctx.beginPath();
    if (look.ears === "wolf") {
      ctx.moveTo(26, 48);
      ctx.quadraticCurveTo(50, 10, 74, 4);
      ctx.quadraticCurveTo(90, 40, 74, 84);
    } else if (look.ears === "round") {
      ctx.ellipse(72, 144, 12, 20, 0.15, 0, Math.PI * 2);
    } else {
      const tip = look.ears === "long" ? 34 : 20;
      ctx.moveTo(66, 128);
      ctx.quadraticCurveTo(80, 112, 76 + tip, 104 - tip * 0.5);
      ctx.quadraticCurveTo(84 + tip * 0.7, 138, 70, 168);
    }
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
    inside(ctx, look);
  });
}

function inside(ctx: Ctx, look: Look): void {
  ctx.fillStyle = look.skin.shade;
  ctx.globalAlpha = 0.55;
  ctx.beginPath();
  if (look.ears === "wolf") {
    ctx.moveTo(42, 48);
    ctx.quadraticCurveTo(56, 24, 70, 18);
    ctx.quadraticCurveTo(78, 42, 68, 70);
  } else if (look.ears === "round") {
    ctx.ellipse(74, 145, 6, 12, 0.15, 0, Math.PI * 2);
  } else {
    const tip = look.ears === "long" ? 24 : 12;
    ctx.moveTo(72, 132);
    ctx.quadraticCurveTo(80, 120, 76 + tip, 110 - tip * 0.5);
    ctx.quadraticCurveTo(80 + tip * 0.6, 136, 72, 156);
  }
  ctx.fill();
  ctx.globalAlpha = 1;
}

function collar(ctx: Ctx, look: Look): void {
  mirrored(ctx, () => {
    ctx.fillStyle = look.cloth.base;
    ctx.beginPath();
    ctx.moveTo(34, 304);
    ctx.lineTo(98, 178);
    ctx.quadraticCurveTo(116, 232, 116, 304);
    ctx.fill();
    ctx.fillStyle = look.cloth.inner;
    ctx.beginPath();
    ctx.moveTo(34, 300);
    ctx.lineTo(93, 192);
    ctx.quadraticCurveTo(98, 240, 82, 300);
    ctx.fill();
  });
}

function hood(ctx: Ctx, look: Look): void {
  ctx.fillStyle = look.cloth.base;
  ctx.beginPath();
  ctx.moveTo(6, 304);
  ctx.bezierCurveTo(16, 220, 10, 40, 120, 8);
  ctx.bezierCurveTo(230, 40, 224, 220, 234, 304);
  ctx.fill();
  ctx.fillStyle = look.cloth.inner;
  ctx.beginPath();
  ctx.moveTo(34, 304);
  ctx.bezierCurveTo(34, 200, 28, 58, 120, 24);
  ctx.bezierCurveTo(212, 58, 206, 200, 206, 304);
  ctx.fill();
  ctx.strokeStyle = look.hair.light;
  ctx.lineWidth = 3;
  ctx.beginPath();
  ctx.moveTo(34, 304);
  ctx.bezierCurveTo(34, 200, 28, 58, 120, 24);
  ctx.bezierCurveTo(212, 58, 206, 200, 206, 304);
  ctx.stroke();
}

/** Tufts of fur around the head, longest at the cheeks. */
function mane(ctx: Ctx, look: Look): void {
  for (const [grow, paint] of [
    [0, look.hair.base],
    [-13, look.hair.light],
  ] as const) {
    ctx.fillStyle = paint;
    ctx.beginPath();
    const tufts = 16;
    for (let tuft = 0; tuft <= tufts; tuft += 1) {
      // From one ear around the chin to the other.
      const angle = Math.PI * (-0.28 + (1.56 * tuft) / tufts);
      const low = Math.sin(angle);
      const [x, y] = [MIDDLE + Math.cos(angle) * (80 + grow), 140 + low * (104 + grow)];
      if (tuft === 0) {
        ctx.moveTo(x, y);
        continue;
      }
      const between = angle - (0.78 * Math.PI) / tufts;
      const far = 15 + grow * 0.6 + 8 * Math.abs(Math.cos(between)) + (tuft % 2) * 6;
      const tip = [MIDDLE + Math.cos(between) * (80 + far), 148 + Math.sin(between) * (104 + far)] as const;
      ctx.lineTo(...tip);
      ctx.quadraticCurveTo((tip[0] + x) / 2, (tip[1] + y) / 2 - 4, x, y);
    }
    ctx.lineTo(MIDDLE, 40);
    ctx.fill();
  }
}

function bob(ctx: Ctx, look: Look): void {
  ctx.fillStyle = look.hair.base;
  ctx.beginPath();
  ctx.moveTo(40, 218);
  ctx.bezierCurveTo(20, 90, 60, 22, 120, 22);
  ctx.bezierCurveTo(180, 22, 220, 90, 200, 218);
  ctx.fill();
}
