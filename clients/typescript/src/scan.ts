/** Deeper than any frame of the protocol; unknown keys have room, too. */
const MAX_DEPTH = 32;

// The formats 0xc4 to 0xdb: how many bytes say a length, and how many come in any case. In this order: bin and ext of 8,
// 16 and 32 bits (ext with a type), float, uint, int, fixext, str.
const LENGTH_BYTES = [1, 2, 4, 1, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4];
const FIXED_BYTES = [0, 0, 0, 1, 1, 1, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17, 0, 0, 0];

/**
 * Throws unless the bytes are one whole MessagePack value that is not nested too deep. The decoder makes room for as
 * many items as an array says it has, before it has seen them: a few bytes could ask for all of the memory.
 *
 * @internal
 */
export function scan(bytes: Uint8Array): void {
  let at = 0;
  const take = (count: number): number => {
    if (count > bytes.length - at) throw new RangeError("it ends too early");
    at += count;
    return at - count;
  };
  const uint = (count: number): number => {
    let value = 0;
    for (let index = take(count); index < at; index += 1) value = value * 256 + (bytes[index] ?? 0);
    return value;
  };
  /** Passes over one value, but for what is in it, and says how many values that is. */
  const head = (): number => {
    const format = uint(1);
    if (format <= 0x7f || format >= 0xe0) return 0;
    if (format <= 0x8f) return 2 * (format & 0x0f);
    if (format <= 0x9f) return format & 0x0f;
    if (format <= 0xbf) {
      take(format & 0x1f);
      return 0;
    }
    if (format <= 0xc3) return 0;
    if (format >= 0xdc) return uint(format % 2 === 0 ? 2 : 4) * (format >= 0xde ? 2 : 1);
    const index = format - 0xc4;
    take(uint(LENGTH_BYTES[index] ?? 0) + (FIXED_BYTES[index] ?? 0));
    return 0;
  };
  /** How many values are still to come, on each level. */
  const open = [1];
  for (let left = open.at(-1); left !== undefined; left = open.at(-1)) {
    if (left === 0) {
      open.pop();
      continue;
    }
    open[open.length - 1] = left - 1;
    const inside = head();
    if (inside === 0) continue;
    if (open.length > MAX_DEPTH) throw new RangeError(`it is nested deeper than ${MAX_DEPTH}`);
    open.push(inside);
  }
  if (at !== bytes.length) throw new RangeError("something comes behind it");
}
