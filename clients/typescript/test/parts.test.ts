import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { CLOSE_CODES, closeRule, codec, ProtocolError, scalars } from "npc-gateway-client";
import { backoff, delayMs } from "#dist/backoff";
import { socketUrl } from "#dist/connect";
import { jwtExpiry, renewalMs } from "#dist/credentials";
import { Heartbeat } from "#dist/heartbeat";
import { parse, stringify } from "#dist/json";
import { webSocketClass } from "#dist/websocket";

test("every close code of the protocol has its rule", () => {
  const wanted = {
    4000: ["internal", "resume", false],
    4001: ["draining", "identify", true],
    4002: ["slow_consumer", "resume", false],
    4003: ["heartbeat_timeout", "resume", false],
    4004: ["rate_limited", "resume", true],
    4005: ["session_limit", "identify", true],
    4006: ["idle", "resume", false],
    4500: ["bad_frame", "stop", false],
    4501: ["unsupported_protocol", "stop", false],
    4502: ["unauthenticated", "token", false],
    4503: ["forbidden", "stop", false],
    4504: ["frame_too_large", "stop", false],
    4505: ["session_replaced", "stop", false],
    4506: ["identify_timeout", "stop", false],
  };
  const found = Object.entries(CLOSE_CODES).map(([code, { name, then, wait }]) => [code, [name, then, wait]]);
  assert.deepEqual(Object.fromEntries(found), wanted);
  assert.equal(closeRule(4400).then, "resume");
  assert.equal(closeRule(4900).then, "stop");
  assert.equal(closeRule(1006).then, "resume");
});

test("waits grow, are jittered and have a bound", () => {
  const options = backoff({ initialMs: 100, maxMs: 1000, waitMs: 500 });
  assert.equal(
    delayMs(0, false, options, () => 0),
    0,
  );
  assert.equal(
    delayMs(0, false, options, () => 1),
    100,
  );
  assert.equal(
    delayMs(3, false, options, () => 1),
    800,
  );
  assert.equal(
    delayMs(1e9, false, options, () => 1),
    1000,
  );
  assert.equal(
    delayMs(0, true, options, () => 0),
    250,
  );
  assert.equal(
    delayMs(9, true, options, () => 1),
    1000,
  );
  assert.throws(() => backoff({ maxMs: -1 }), /reconnect\.maxMs/);
});

test("the expiry of a JWT is read, and of nothing else", () => {
  const claims = Buffer.from(JSON.stringify({ exp: 1234, name: "??>" })).toString("base64url");
  assert.equal(jwtExpiry(`e30.${claims}.c2ln`), 1_234_000);
  assert.equal(jwtExpiry("mina"), undefined);
  assert.equal(jwtExpiry("a.b.c"), undefined);
  assert.equal(
    renewalMs(100_000, () => 1),
    80_000,
  );
  assert.equal(
    renewalMs(-5, () => 1),
    1_000,
  );
});

test("whole numbers of 64 bits stay exact in JSON", () => {
  const text =
    '{"a":18446744073709551615,"b":"18446744073709551615 \\" 1","c":[-9007199254740993],"d":1.25,"e":7}';
  const value = {
    a: 18446744073709551615n,
    b: '18446744073709551615 " 1',
    c: [-9007199254740993n],
    d: 1.25,
    e: 7,
  };
  assert.deepEqual(parse(text), value);
  assert.equal(stringify(value), text);
  assert.deepEqual(parse('{"a":1234567890123456.5,"b":1e20}'), { a: 1234567890123456.5, b: 1e20 });
  const fraction =
    '{"a":0.08500000089406967,"b":-0.09899999946355820,"c":-1234567890123456789,"d":1.0e-0000000000000001}';
  assert.deepEqual(parse(fraction), {
    a: 0.08500000089406967,
    b: -0.0989999994635582,
    c: -1234567890123456789n,
    d: 0.1,
  });
});

test("messages that are no frames are told apart", () => {
  const json = codec("json");
  for (const bad of [
    "",
    "[]",
    "1",
    "{}",
    '{"op":1}',
    '{"op":"x","s":-1}',
    '{"op":"x","d":[]}',
    '{"op":"x","cid":{}}',
  ]) {
    assert.throws(() => json.decode(bad), ProtocolError, bad);
  }
  assert.throws(() => json.decode(new Uint8Array([0x80])), ProtocolError);
  const msgpack = codec("msgpack");
  for (const bad of [[], [0xc1], [0x90], [0x80], [0x81, 0xa2, 0x6f]]) {
    assert.throws(() => msgpack.decode(new Uint8Array(bad)), ProtocolError, String(bad));
  }
  assert.throws(() => msgpack.decode("{}"), ProtocolError);
  assert.throws(() => codec("xml" as "json"), /encoding/);
});

test("offsets count scalar values", () => assert.equal(scalars("Grüße 🦇"), 7));

test("addresses become those of the socket", () => {
  assert.equal(socketUrl("http://localhost:7777"), "ws://localhost:7777/ws");
  assert.equal(socketUrl("https://game.example/npc"), "wss://game.example/npc");
  assert.equal(socketUrl("ws://localhost/ws?a=1#b"), "ws://localhost/ws?a=1");
  assert.throws(() => socketUrl("ftp://x"), /must begin with/);
  assert.throws(() => socketUrl("nowhere"), /not a URL/);
});

test("without a WebSocket of the platform the package ws is taken", async () => {
  const own = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  Reflect.deleteProperty(globalThis, "WebSocket");
  try {
    const { WebSocket } = await import("ws");
    assert.equal(await webSocketClass(undefined), WebSocket);
  } finally {
    if (own) Object.defineProperty(globalThis, "WebSocket", own);
  }
});

test("the heartbeat starts within its interval, goes on, and gives up after two without an answer", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const seen: string[] = [];
  const heart = new Heartbeat(
    () => seen.push("beat"),
    () => seen.push("dead"),
    () => 0.5,
  );
  heart.start(1000);
  t.mock.timers.tick(499);
  assert.deepEqual(seen, []);
  t.mock.timers.tick(1);
  assert.deepEqual(seen, ["beat"]);
  heart.alive();
  t.mock.timers.tick(1000);
  t.mock.timers.tick(1000);
  assert.deepEqual(seen, ["beat", "beat", "beat"]);
  t.mock.timers.tick(1000);
  assert.deepEqual(seen, ["beat", "beat", "beat", "dead"]);
  t.mock.timers.tick(10_000);
  assert.equal(seen.length, 4);
});

test("the version that the client gives itself is the package's", () => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const source = readFileSync(new URL("../../src/connect.ts", import.meta.url), "utf8");
  assert.ok(source.includes(`version: "${version}"`), version);
});
