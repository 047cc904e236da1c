/** Characters that are spoken in a second where nothing says so. */
const USUAL_RATE = 16;
/** Pieces of one line that are kept. */
const MAX_PIECES = 16_384;

interface Piece {
  /** Characters (Unicode scalar values) before it, and in it. */
  offset: number;
  length: number;
  t: number;
}

/** A line as it is spoken: which character at what time. */
export class Speech {
  readonly #pieces: Piece[] = [];
  #text = "";
  #length = 0;
  /** Characters that count, after a cancel. */
  #valid = Number.POSITIVE_INFINITY;
  /** There are characters that JavaScript counts as two. */
  #wide = false;

  /** All that has come. */
  get text(): string {
    return this.#text;
  }

  /** What of it counts. */
  get valid(): string {
    return this.slice(0, this.#valid);
  }

  get length(): number {
    return this.#length;
  }

  add(text: string, offset: number, t: number): void {
    if (this.#pieces.length >= MAX_PIECES || offset !== this.#length) return;
    const length = countOf(text);
    this.#wide ||= length !== text.length;
    this.#pieces.push({ offset, length, t });
    this.#text += text;
    this.#length += length;
  }

  cut(offset: number): void {
    this.#valid = Math.min(this.#valid, offset);
  }

  /** A part of the text, by characters. */
  slice(from: number, to: number): string {
    if (!this.#wide) return this.#text.slice(from, to);
    return [...this.#text].slice(from, to).join("");
  }

  /** When it has all been spoken. */
  get endMs(): number {
    return this.timeOf(Math.min(this.#length, this.#valid));
  }

  /** When the character at an offset is spoken. */
  timeOf(offset: number): number {
    const index = Math.max(
      0,
      this.#last((piece) => piece.offset <= offset),
    );
    const piece = this.#pieces[index];
    if (!piece) return 0;
    return piece.t + Math.max(0, offset - piece.offset) * this.#msPerCharacter(index);
  }

  /** Characters that have been spoken at a time. */
  spokenAt(t: number): number {
    const index = this.#last((piece) => piece.t <= t);
    const piece = this.#pieces[index];
    if (!piece) return 0;
    const into = (t - piece.t) / this.#msPerCharacter(index);
    return Math.min(this.#valid, piece.offset + Math.min(piece.length, Math.floor(into)));
  }

  /** The words with the times at which they begin and end. */
  words(): { text: string; from: number; to: number }[] {
    const words: { text: string; from: number; to: number }[] = [];
    for (const match of this.valid.matchAll(/\S+/gu)) {
      const begin = this.#wide ? countOf(this.#text.slice(0, match.index)) : match.index;
      const text = match[0];
      words.push({ text, from: this.timeOf(begin), to: this.timeOf(begin + countOf(text)) });
    }
    return words;
  }

  /** The last of the pieces at the beginning for which it holds; −1: there is none. Found by halves: every frame asks. */
  #last(holds: (piece: Piece) => boolean): number {
    let low = 0;
    let high = this.#pieces.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const piece = this.#pieces[middle];
      if (piece && holds(piece)) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #msPerCharacter(index: number): number {
    const piece = this.#pieces[index];
    const next = this.#pieces[index + 1];
    if (piece && next && next.t > piece.t) return (next.t - piece.t) / Math.max(1, piece.length);
    const first = this.#pieces[0];
    const last = this.#pieces.at(-1);
    const passed = (last?.t ?? 0) - (first?.t ?? 0);
    const said = (last?.offset ?? 0) - (first?.offset ?? 0);
    return passed > 0 && said > 0 ? passed / said : 1000 / USUAL_RATE;
  }
}

function countOf(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
