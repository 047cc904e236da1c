import { ProtocolError } from "./errors.js";
import type { RawFrame } from "./frames.js";
import { SHAPES } from "./generated.js";

const IS: { readonly [kind: string]: (value: unknown) => boolean } = {
  str: (value) => typeof value === "string",
  uint: (value) => Number.isSafeInteger(value) && (value as number) >= 0,
  num: (value) => typeof value === "number",
  bool: (value) => typeof value === "boolean",
  map: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  list: (value) => Array.isArray(value),
  bin: (value) => value instanceof Uint8Array,
  any: () => true,
};

/** Whether the protocol has a server frame of this `op`. */
export function isKnown(op: string): boolean {
  return Object.hasOwn(SHAPES, op);
}

/** Throws if a payload lacks a key that the protocol promises, or has a value of another kind there. */
export function checkShape({ op, d }: RawFrame): void {
  if (!isKnown(op)) return;
  for (const [key, kind] of Object.entries(SHAPES[op] ?? {})) {
    const value = d[key];
    if (value === undefined) {
      if (!kind.endsWith("?")) throw new ProtocolError(`a \`${op}\` without \`${key}\``);
    } else if (!IS[kind.replace("?", "")]?.(value)) {
      throw new ProtocolError(`\`${key}\` of a \`${op}\` is not a ${kind.replace("?", "")}`);
    }
  }
}
