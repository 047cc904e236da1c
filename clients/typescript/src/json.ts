// JSON with whole numbers of 64 bits, which the built-in one rounds or refuses. They become bigints where a number
// would not be exact.

/** Digits from which on a number may be too large to be exact. */
const LARGE = /\d{16}/;
/** A string, or a whole number of that many digits: not those of a fraction, or of an exponent. */
const TOKEN = /"(?:[^"\\]|\\.)*"|(?<![.\deE+-])-?\d{16,}(?![\d.eE])/g;

export function parse(text: string): unknown {
  if (!LARGE.test(text)) return JSON.parse(text);
  // Large numbers go through the parser as strings that nobody else can have written.
  const mark = `${crypto.getRandomValues(new Uint32Array(4)).join("-")}:`;
  const marked = text.replace(TOKEN, (token) => (token.startsWith('"') ? token : `"${mark}${token}"`));
  return JSON.parse(marked, (_, value: unknown) => {
    if (typeof value !== "string" || !value.startsWith(mark)) return value;
    const digits = value.slice(mark.length);
    const number = Number(digits);
    return Number.isSafeInteger(number) ? number : BigInt(digits);
  });
}

export function stringify(value: unknown): string {
  const bigints: bigint[] = [];
  const mark = `${crypto.getRandomValues(new Uint32Array(4)).join("-")}:`;
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (item instanceof Uint8Array) return [...item];
    if (typeof item !== "bigint") return item;
    bigints.push(item);
    return `${mark}${item}`;
  });
  return bigints.reduce((done, item) => done.replace(`"${mark}${item}"`, String(item)), text);
}
