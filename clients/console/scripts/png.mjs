// Writes a PNG as small as zlib makes it; browsers write theirs as fast as they can.
import { crc32, deflateSync } from "node:zlib";

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name, "ascii"), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}

/** The byte that a filter of PNG expects: from the left, from above, or from what lies between both. */
function expected(filter, left, above, corner) {
  if (filter === 1) return left;
  if (filter === 2) return above;
  if (filter !== 4) return 0;
  const [toLeft, toAbove, toCorner] = [
    Math.abs(above - corner),
    Math.abs(left - corner),
    Math.abs(left + above - 2 * corner),
  ];
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

/** `rgba` has four bytes for each pixel; the last one is passed over. */
export function png(rgba, width, height) {
  const row = width * 3;
  const pixels = Buffer.alloc(row * height);
  for (let at = 0, pixel = 0; pixel < width * height; pixel += 1) {
    for (let channel = 0; channel < 3; channel += 1, at += 1) pixels[at] = rgba[pixel * 4 + channel];
  }
  const lines = [];
  for (let y = 0; y < height; y += 1) {
    let best;
    // Each line with the filter that leaves the least.
    for (const filter of [0, 1, 2, 4]) {
      const line = Buffer.alloc(row + 1);
      line[0] = filter;
      let left = 0;
      for (let x = 0; x < row; x += 1) {
        const at = y * row + x;
        const above = y > 0 ? pixels[at - row] : 0;
        const before = x >= 3 ? pixels[at - 3] : 0;
        const corner = y > 0 && x >= 3 ? pixels[at - row - 3] : 0;
        const byte = (pixels[at] - expected(filter, before, above, corner)) & 0xff;
        line[x + 1] = byte;
        left += byte < 128 ? byte : 256 - byte;
      }
      if (!best || left < best.left) best = { line, left };
    }
    lines.push(best.line);
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Eight bits, red, green and blue.
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.concat(lines), { level: 9, memLevel: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
