import { type Codec, size } from "./codec.js";
import { type NpcGatewayError, RequestError, UsageError } from "./errors.js";
import type { ClientFrame, ClientOp, RawFrame, ServerOp } from "./frames.js";
import type { ClientPayloads, ErrorPayload, ServerPayloads } from "./generated.js";
import { MAX_UNANSWERED } from "./limits.js";

interface Request {
  frame: ClientFrame;
  reply: ServerOp;
  /** Not to be sent again on the next socket. */
  once: boolean;
  resolve(payload: never): void;
  reject(error: NpcGatewayError): void;
}

/**
 * Frames that wait for their reply, by `cid`. What is unanswered when a socket is lost is sent again on the next
 * one: each of these frames may come twice without harm.
 *
 * @internal
 */
export class Requests {
  readonly #codec: Codec;
  readonly #send: (frame: ClientFrame) => void;
  readonly #unanswered = new Map<number, Request>();
  #cid = 0;
  /** Largest message that the server takes, in bytes. */
  maxBytes = Number.POSITIVE_INFINITY;

  constructor(codec: Codec, send: (frame: ClientFrame) => void) {
    this.#codec = codec;
    this.#send = send;
  }

  /** A mark for a frame whose reply is awaited elsewhere. */
  nextCid(): number {
    this.#cid += 1;
    return this.#cid;
  }

  /** Throws if the server would close the socket for the size of this frame. */
  check(frame: ClientFrame): void {
    const bytes = size(this.#codec.encode(frame));
    if (bytes > this.maxBytes) {
      throw new UsageError(`a \`${frame.op}\` of ${bytes} bytes; the server takes at most ${this.maxBytes}`);
    }
  }

  /** Sends a frame (later, if `now` is false) and waits for its reply. */
  ask<Op extends ClientOp, Reply extends ServerOp>(
    op: Op,
    d: ClientPayloads[Op],
    reply: Reply,
    { now, once = false }: { now: boolean; once?: boolean },
  ): Promise<ServerPayloads[Reply]> {
    return new Promise((resolve, reject) => {
      if (this.#unanswered.size >= MAX_UNANSWERED) {
        throw new UsageError(`${MAX_UNANSWERED} requests are unanswered already`);
      }
      const cid = this.nextCid();
      const frame = { op, cid, d } as ClientFrame;
      this.check(frame);
      this.#unanswered.set(cid, { frame, reply, once, resolve, reject });
      if (now) this.#send(frame);
    });
  }

  /** Takes a frame if it is the reply to one of these, or the error about it. */
  take({ op, cid, d }: RawFrame): boolean {
    if (typeof cid !== "number") return false;
    const request = this.#unanswered.get(cid);
    if (!request) return false;
    if (op === "error") {
      this.#unanswered.delete(cid);
      request.reject(new RequestError(d as unknown as ErrorPayload));
      return true;
    }
    if (op !== request.reply) return false;
    this.#unanswered.delete(cid);
    request.resolve(d as never);
    return true;
  }

  /** Drops those that are not to be sent again. */
  dropOnce(error: NpcGatewayError): void {
    for (const [cid, request] of this.#unanswered) {
      if (!request.once) continue;
      this.#unanswered.delete(cid);
      request.reject(error);
    }
  }

  /** Sends again, in order, those that the filter lets through. */
  flush(filter: (op: ClientOp) => boolean): void {
    for (const { frame } of this.#unanswered.values()) {
      if (filter(frame.op)) this.#send(frame);
    }
  }

  fail(error: NpcGatewayError): void {
    const requests = [...this.#unanswered.values()];
    this.#unanswered.clear();
    for (const { reject } of requests) reject(error);
  }
}
