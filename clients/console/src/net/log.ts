import type { RawFrame } from "npc-gateway-client";
import { Signal } from "../ui/signal.js";

/** A message as it is on the wire. */
export type Wire = string | Uint8Array | ArrayBuffer;

/** Reads a message, and throws if it is no frame. */
export type Decode = (message: Wire) => RawFrame;

/** One frame, either way. It is read when somebody looks at it: most are never looked at. */
export class Logged {
  /** Counts the frames of this page, from 1. */
  readonly number: number;
  /** `performance.now()` when it came or went. */
  readonly at: number;
  readonly way: "in" | "out";
  readonly #message: Wire;
  readonly #decode: Decode;
  #frame: RawFrame | undefined;

  constructor(number: number, at: number, way: "in" | "out", message: Wire, decode: Decode) {
    this.number = number;
    this.at = at;
    this.way = way;
    this.#message = message;
    this.#decode = decode;
  }

  /** Bytes on the wire; characters of a text. */
  get size(): number {
    return typeof this.#message === "string" ? this.#message.length : this.#message.byteLength;
  }

  get op(): string {
    return this.#read().op;
  }

  get s(): RawFrame["s"] {
    return this.#read().s;
  }

  get cid(): RawFrame["cid"] {
    return this.#read().cid;
  }

  get d(): RawFrame["d"] {
    return this.#read().d;
  }

  #read(): RawFrame {
    this.#frame ??= read(this.#message, this.#decode);
    return this.#frame;
  }
}

/** A frame of a message, without what lets others in: the list can be copied. */
function read(message: Wire, decode: Decode): RawFrame {
  try {
    const frame = decode(message);
    for (const key of ["token", "resume_token"]) if (key in frame.d) frame.d[key] = "…";
    return frame;
  } catch (error) {
    // What is no frame is the client's to complain of.
    return { op: "?", d: { error: String(error) } };
  }
}

/** Frames that are kept: some minutes of three NPCs that talk. */
export const KEPT = 2000;

/** The last frames of the page. */
export class FrameLog {
  readonly #frames: (Logged | undefined)[] = new Array(KEPT);
  #count = 0;
  readonly added = new Signal<Logged>();
  readonly #decode: Decode;

  constructor(decode: Decode) {
    this.#decode = decode;
  }

  /** Frames since the page was opened. */
  get count(): number {
    return this.#count;
  }

  add(way: "in" | "out", message: Wire): void {
    const logged = new Logged(this.#count + 1, performance.now(), way, message, this.#decode);
    this.#frames[this.#count % KEPT] = logged;
    this.#count += 1;
    this.added.emit(logged);
  }

  /** What is kept, the oldest first, from the frame with this number on. */
  *from(number = 1): Generator<Logged, void, undefined> {
    const first = Math.max(number - 1, this.#count - KEPT, 0);
    for (let index = first; index < this.#count; index += 1) {
      const frame = this.#frames[index % KEPT];
      if (frame) yield frame;
    }
  }
}

/** A frame as a person reads it; blobs as short as they are dull. */
export function asText({ op, s, cid, d }: Logged, indent?: number): string {
  const plain = (_: string, value: unknown) => {
    if (value instanceof Uint8Array)
      return indent === undefined ? `${value.length} bytes` : [...value].join(" ");
    if (typeof value === "bigint") return String(value);
    // Singles as they were meant.
    return typeof value === "number" && !Number.isInteger(value) ? Number(value.toFixed(4)) : value;
  };
  return JSON.stringify({ op, s, cid, d }, plain, indent);
}

/** The payload of a frame on one line. */
export function payloadText(frame: Logged): string {
  const text = asText(frame);
  const from = text.indexOf('"d":');
  return from < 0 ? "" : text.slice(from + 4, -1);
}

/** A frame as it would be sent in JSON: everything, blobs as arrays. */
export function asJson({ op, s, cid, d }: Logged): string {
  return JSON.stringify({ op, s, cid, d }, (_, value) => {
    if (value instanceof Uint8Array) return [...value];
    return typeof value === "bigint" ? String(value) : value;
  });
}

/** Whether all words of a filter are in a frame; a word with `-` before it must not be. */
export function matches(frame: Logged, filter: string): boolean {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const text = `${frame.way} ${asText(frame)}`.toLowerCase();
  return words.every((word) =>
    word.startsWith("-") ? word === "-" || !text.includes(word.slice(1)) : text.includes(word),
  );
}
