// MessagePack that is to break the client, before it is decoded.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { Decoder, encode } from "@msgpack/msgpack";
import { codec, ProtocolError } from "npc-gateway-client";
import { scan } from "#dist/scan";

const golden = new URL("../../../../schemas/golden/", import.meta.url);
const frames = ["server", "client"].flatMap((side) =>
  readdirSync(new URL(`${side}/`, golden))
    .filter((name) => name.endsWith(".msgpack"))
    .map((name) => new Uint8Array(readFileSync(new URL(`${side}/${name}`, golden)))),
);

const fails = (call: () => unknown): boolean => {
  try {
    call();
    return false;
  } catch {
    return true;
  }
};

test("every golden frame is one whole value, and no part of it is", () => {
  assert.ok(frames.length > 60);
  for (const frame of frames) {
    scan(frame);
    for (let end = 0; end < frame.length; end += 1)
      assert.throws(() => scan(frame.subarray(0, end)), RangeError);
    assert.throws(() => scan(Uint8Array.of(...frame, 0xc0)), RangeError);
  }
});

test("every format of MessagePack is passed over as long as it is", () => {
  const values = [
    ...[null, true, false, 0, 127, 128, 65535, 65536, 2 ** 32, -1, -33, -129, -32769, -(2 ** 31) - 1, 1.5],
    ..."0,31,32,255,256,65535,65536".split(",").map((length) => "x".repeat(Number(length))),
    ...[0, 255, 256, 65535, 65536].map((length) => new Uint8Array(length)),
    ...[0, 15, 16, 65535, 65536].map((length) => Array(length).fill(7)),
    ...[15, 16, 65536].map((length) => Object.fromEntries(Array.from({ length }, (_, key) => [`${key}`, key]))),
  ];
  for (const value of values) {
    const bytes = encode([value, "end"]);
    scan(bytes);
    assert.throws(() => scan(bytes.subarray(0, -1)), RangeError);
  }
  // Formats that the encoder does not write: float 32, and the extensions.
  for (const bytes of [
    [0xca, 0, 0, 0, 0],
    ...[1, 2, 4, 8, 16].map((length, index) => [0xd4 + index, 1, ...Array(length).fill(0)]),
    [0xc7, 2, 1, 0, 0],
    [0xc8, 0, 2, 1, 0, 0],
    [0xc9, 0, 0, 0, 2, 1, 0, 0],
  ]) {
    scan(Uint8Array.from(bytes));
    assert.throws(() => scan(Uint8Array.from(bytes.slice(0, -1))), RangeError, String(bytes));
  }
});

// So that it does not make room for what is not there.
const bounded = new Decoder({ useBigInt64: true, maxArrayLength: 65_536 });

test("what the decoder takes is let through, in thousands of damaged frames", () => {
  // The same ones in every run.
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  let taken = 0;
  for (const frame of frames) {
    for (let round = 0; round < 100; round += 1) {
      const damaged = frame.slice();
      for (let index = 0; index <= random(4); index += 1) damaged[random(frame.length)] = random(256);
      if (fails(() => scan(damaged)))
        assert.ok(
          fails(() => bounded.decode(damaged)),
          String(damaged),
        );
      else taken += 1;
    }
  }
  assert.ok(taken > 1000, String(taken));
});

test("a few bytes cannot ask for much memory, nor for a deep stack", () => {
  const msgpack = codec("msgpack");
  const refused = (bytes: Uint8Array) => assert.throws(() => msgpack.decode(bytes), ProtocolError);
  // Arrays in arrays, each of which says that it has 2^31 items.
  const huge = new Uint8Array(5 * 200_000);
  for (let at = 0; at < huge.length; at += 5) huge.set([0xdd, 0x7f, 0xff, 0xff, 0xff], at);
  refused(huge);
  // Lists in lists, whole to the innermost.
  for (const depth of [40, 1 << 20]) {
    const deep = new Uint8Array(depth).fill(0x91);
    deep[depth - 1] = 0xc0;
    assert.throws(() => scan(deep), /nested deeper than 32/);
    refused(deep);
  }
  const json = codec("json");
  const depth = 200_000;
  const deep = `{"op":"x","d":{"a":${"[".repeat(depth)}1234567890123456789${"]".repeat(depth)}}}`;
  assert.throws(() => json.decode(deep), ProtocolError);
});
