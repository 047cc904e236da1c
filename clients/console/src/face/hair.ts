import type { Ctx } from "../ui/canvas.js";
import { mirrored } from "./bust.js";
import type { Look } from "./look.js";

/** What falls over the forehead. */
export function front(ctx: Ctx, look: Look): void {
  ctx.fillStyle = look.hair.base;
  switch (look.top) {
    case "peak":
      peak(ctx, look);
      break;
    case "tufts":
      tufts(ctx, look);
      break;
    case "mane":
      brush(ctx, look);
      break;
    case "bob":
      fringe(ctx, look);
      break;
    case "bald":
    case "hood":
      break;
  }
}

function peak(ctx: Ctx, look: Look): void {
  ctx.beginPath();
  ctx.moveTo(45, 132);
  ctx.bezierCurveTo(32, 58, 74, 22, 120, 22);
  ctx.bezierCurveTo(166, 22, 208, 58, 195, 132);
  ctx.bezierCurveTo(192, 106, 186, 90, 172, 78);
  ctx.bezierCurveTo(154, 64, 132, 72, 120, 92);
  ctx.bezierCurveTo(108, 72, 86, 64, 68, 78);
  ctx.bezierCurveTo(54, 90, 48, 106, 45, 132);
  ctx.fill();
  ctx.strokeStyle = look.hair.light;
  ctx.lineWidth = 1.6;
  mirrored(ctx, () => {
    for (const [x, y, to] of [
      [10, 70, 34],
      [26, 66, 52],
      [42, 68, 66],
    ] as const) {
      ctx.beginPath();
      ctx.moveTo(x, y);
      ctx.quadraticCurveTo(x + 6, 40, to, 46 + x * 0.5);
      ctx.stroke();
    }
  });
}

/** What the grave has left of it. */
function tufts(ctx: Ctx, look: Look): void {
  for (const clump of [LEFT_CLUMP, RIGHT_CLUMP]) {
    ctx.beginPath();
    for (const [x, y] of clump) ctx.lineTo(x, y);
    ctx.closePath();
    ctx.fill();
  }
  ctx.strokeStyle = look.hair.light;
  ctx.lineWidth = 1.4;
  for (const [x, y, to, up] of STRANDS) {
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.quadraticCurveTo((x + to) / 2 - 6, (y + up) / 2, to, up);
    ctx.stroke();
  }
}

const LEFT_CLUMP = [
  [48, 112],
  [40, 82],
  [50, 86],
  [46, 58],
  [62, 66],
  [66, 38],
  [82, 50],
  [96, 28],
  [104, 44],
  [124, 30],
  [120, 50],
  [106, 62],
  [98, 58],
  [88, 74],
  [78, 70],
  [66, 90],
  [60, 84],
] as const;

const RIGHT_CLUMP = [
  [146, 42],
  [162, 34],
  [160, 46],
  [180, 46],
  [174, 58],
  [194, 72],
  [184, 78],
  [198, 100],
  [190, 118],
  [184, 94],
  [174, 92],
  [172, 76],
  [158, 70],
  [158, 58],
] as const;

/** Single hairs: from here to there. */
const STRANDS = [
  [70, 72, 84, 44],
  [88, 62, 106, 38],
  [56, 90, 58, 66],
  [166, 62, 176, 50],
  [182, 88, 188, 76],
  [128, 42, 140, 22],
  [134, 44, 150, 30],
] as const;

function brush(ctx: Ctx, look: Look): void {
  ctx.beginPath();
  ctx.moveTo(66, 84);
  for (const [x, y] of [
    [74, 50],
    [90, 44],
    [104, 30],
    [120, 36],
    [136, 28],
    [150, 44],
    [168, 52],
    [174, 86],
    [158, 70],
    [148, 84],
    [134, 66],
    [122, 92],
    [108, 66],
    [94, 82],
    [82, 68],
  ] as const) {
    ctx.lineTo(x, y);
  }
  ctx.fill();
  mirrored(ctx, () => {
    // Whiskers.
    ctx.fillStyle = look.hair.base;
    ctx.beginPath();
    ctx.moveTo(76, 150);
    ctx.lineTo(60, 184);
    ctx.lineTo(66, 186);
    ctx.lineTo(48, 212);
    ctx.lineTo(56, 214);
    ctx.lineTo(38, 236);
    ctx.quadraticCurveTo(74, 224, 82, 170);
    ctx.fill();
  });
}

function fringe(ctx: Ctx, look: Look): void {
  ctx.beginPath();
  ctx.moveTo(46, 128);
  ctx.bezierCurveTo(40, 60, 80, 28, 120, 28);
  ctx.bezierCurveTo(160, 28, 200, 60, 194, 128);
  ctx.bezierCurveTo(190, 96, 168, 84, 140, 82);
  ctx.bezierCurveTo(104, 80, 66, 84, 46, 128);
  ctx.fill();
  ctx.strokeStyle = look.hair.light;
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.moveTo(78, 62);
  ctx.quadraticCurveTo(112, 40, 160, 60);
  ctx.stroke();
}
