import { Decoder, Encoder } from "@msgpack/msgpack";
import { ProtocolError } from "./errors.js";
import type { ClientFrame, RawFrame } from "./frames.js";
import { parse, stringify } from "./json.js";
import { scan } from "./scan.js";

/** How frames are written: MessagePack in binary messages, or JSON in text messages. */
export type Encoding = "msgpack" | "json";

/** What a WebSocket hands over or takes as one message. */
export type Message = string | Uint8Array<ArrayBuffer>;

/** One of the two ways to write frames. */
export interface Codec {
  readonly subprotocol: string;
  encode(frame: ClientFrame): Message;
  /** Throws a `ProtocolError` for a message that is no frame. */
  decode(message: unknown): RawFrame;
}

// A number of 64 bits that JavaScript cannot hold exactly comes as a bigint; all others as numbers.
const decoder = new Decoder({ useBigInt64: true });
const encoder = new Encoder({ ignoreUndefined: true, useBigInt64: true });

const msgpack: Codec = {
  subprotocol: "npc.v1.msgpack",
  encode(frame) {
    return encoder.encode(frame);
  },
  decode(message) {
    const bytes = message instanceof ArrayBuffer ? new Uint8Array(message) : message;
    if (!(bytes instanceof Uint8Array)) {
      throw new ProtocolError("a text message on the subprotocol npc.v1.msgpack");
    }
    let value: unknown;
    try {
      scan(bytes);
      value = decoder.decode(bytes);
    } catch (cause) {
      throw new ProtocolError("a message is not MessagePack", { cause });
    }
    return frameOf(narrow(value));
  },
};

const json: Codec = {
  subprotocol: "npc.v1.json",
  encode(frame) {
    return stringify(frame);
  },
  decode(message) {
    if (typeof message !== "string") {
      throw new ProtocolError("a binary message on the subprotocol npc.v1.json");
    }
    let value: unknown;
    try {
      value = parse(message);
    } catch (cause) {
      throw new ProtocolError("a message is not JSON", { cause });
    }
    const frame = frameOf(value);
    // JSON writes a blob as an array.
    const w = frame.d["w"];
    if (frame.op === "face.key" && Array.isArray(w)) frame.d["w"] = Uint8Array.from(w);
    return frame;
  },
};

/** The codec of an encoding. */
export function codec(encoding: Encoding): Codec {
  switch (encoding) {
    case "msgpack":
      return msgpack;
    case "json":
      return json;
    default:
      throw new TypeError(`encoding must be "msgpack" or "json", not ${JSON.stringify(encoding)}`);
  }
}

/** Bytes of a message on the wire. */
export function size(message: Message): number {
  return typeof message === "string" ? new TextEncoder().encode(message).length : message.length;
}

function frameOf(value: unknown): RawFrame {
  if (!isMap(value)) throw new ProtocolError("a message is not a map");
  const { op, s, cid, d } = value;
  if (typeof op !== "string") throw new ProtocolError("a frame has no `op`");
  if (s !== undefined && !isUint(s)) throw new ProtocolError(`\`s\` of a \`${op}\` is not a uint`);
  if (cid !== undefined && typeof cid !== "string" && !isUint(cid)) {
    throw new ProtocolError(`\`cid\` of a \`${op}\` is neither str nor uint`);
  }
  if (d !== undefined && !isMap(d)) throw new ProtocolError(`\`d\` of a \`${op}\` is not a map`);
  return {
    op,
    d: d ?? {},
    ...(s === undefined ? {} : { s }),
    ...(cid === undefined ? {} : { cid }),
  };
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

function isUint(value: unknown): value is number | bigint {
  if (typeof value === "bigint") return value >= 0n;
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Makes numbers of the bigints that are exact as such. */
function narrow(value: unknown): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (Array.isArray(value)) return value.map(narrow);
  if (isMap(value)) {
    for (const [key, item] of Object.entries(value)) value[key] = narrow(item);
  }
  return value;
}
