// A gateway that breaks the protocol: what the client must not believe, and what must not harm it.

import assert from "node:assert/strict";
import test from "node:test";
import { ConnectError, ProtocolError, RequestError, UsageError } from "npc-gateway-client";
import type { Peer } from "./support/fake.js";
import { joined, meet, serve } from "./support/meet.js";
import { ENCODINGS, play } from "./support/player.js";
import { within } from "./support/within.js";

const left = { npc: "x" };
const ready = {
  ...{ session: "s9", resume_token: "t", epoch: "e", player: "mina", scopes: [] },
  ...{ resume_window_ms: 1, limits: {} },
};

/** What may not come while a session is up, and a part of what the client says of it. */
const BREACHES: readonly [name: string, breach: (peer: Peer) => void, said: RegExp][] = [
  ["a hole in `s`", (peer) => peer.raw({ op: "npc.left", s: 9, d: left }), /hole in the sequence: `s` 9 after/],
  ["no `s`", (peer) => peer.raw({ op: "npc.left", d: left }), /a `npc.left` without `s`/],
  ["an `s` that is no uint", (peer) => peer.raw({ op: "npc.left", s: -3, d: left }), /`s` of a `npc.left`/],
  ["an `s` of 64 bits", (peer) => peer.raw({ op: "npc.left", s: 2 ** 53, d: left }), /`s`/],
  ["a list", (peer) => peer.raw([1, 2]), /not a map/],
  ["no `op`", (peer) => peer.raw({ s: 3, d: left }), /no `op`/],
  ["an `op` that is no text", (peer) => peer.raw({ op: 7, s: 3, d: left }), /no `op`/],
  ["a `d` that is no map", (peer) => peer.raw({ op: "npc.left", s: 3, d: "x" }), /`d` of a `npc.left`/],
  ["a key that is missing", (peer) => peer.raw({ op: "npc.left", s: 3, d: {} }), /without `npc`/],
  ["a key of another type", (peer) => peer.raw({ op: "npc.left", s: 3, d: { npc: 7 } }), /`npc` of a/],
  ["noise", (peer) => peer.bytes(peer.json ? "{" : Uint8Array.of(0xc1, 0, 0xff)), /not (JSON|MessagePack)/],
  ["nothing", (peer) => peer.bytes(peer.json ? "" : new Uint8Array(0)), /not (JSON|MessagePack)/],
  ["the other kind of message", (peer) => peer.bytes(peer.json ? Uint8Array.of(0x80) : "{}"), /message on the/],
  [
    "a message that is too large",
    (peer) => peer.raw({ op: "x", d: { x: "x".repeat(1 << 20) } }),
    /the largest/,
  ],
  ["a second `hello`", (peer) => peer.hello(), /second `hello`/],
  ["a second `ready`", (peer) => peer.raw({ op: "ready", s: 3, d: ready }), /not asked for/],
  ["`resumed` in between", (peer) => peer.resumed(), /not asked for/],
  [
    "`resume_failed` in between",
    (peer) => peer.raw({ op: "resume_failed", d: { reason: "gap", recovered: false } }),
    /not asked for/,
  ],
];

for (const encoding of ENCODINGS) {
  for (const [name, breach, said] of BREACHES) {
    test(`${encoding}: ${name}: resumed twice, then left`, async (t) => {
      const { fake, peer, session, watch } = await joined(t, { encoding });
      breach(peer);
      assert.equal(await within(peer.closed, "the close"), 3000);
      for (let again = 0; again < 2; again += 1) {
        const next = await fake.peer();
        // What came in the breach was not counted.
        assert.equal((await next.resume()).d.seq, 2);
        next.resumed();
        breach(next);
        assert.equal(await within(next.closed, "the close"), 3000);
      }
      const end = await within(session.closed, "the end");
      assert.ok(end instanceof ProtocolError, String(end));
      assert.match(end.message, said);
      assert.equal(watch.problems.length, 2);
      assert.deepEqual(watch.numbers, [2]);
      assert.equal(fake.sockets, 3);
    });
  }
}

test("a hole is healed by a resume, and a frame that comes twice is taken once", async (t) => {
  const { fake, peer, session, watch, npc } = await joined(t);
  const turn = npc.say("Hello", { turn: "t" });
  const { cid } = await peer.expect("say");
  peer.started("t", cid);
  peer.delta("t", "Good ", 0);
  peer.s -= 1;
  peer.delta("t", "Good ", 0);
  peer.raw({
    op: "dialogue.delta",
    s: 1,
    d: { turn: "t", player: "mina", text: "x", offset: 9, t_ms: 0, tokens: 1 },
  });
  peer.s += 1;
  peer.delta("t", "ning", 8);
  await peer.closed;

  const next = await fake.peer();
  assert.equal((await next.resume()).d.seq, 4);
  next.delta("t", "eve", 5);
  next.delta("t", "ning", 8);
  next.resumed(2);
  next.done("t", "Good evening", "stop", cid);
  assert.equal((await turn.done).text, turn.text);
  assert.deepEqual(watch.numbers, [2, 3, 4, 5, 6, 7]);
  assert.equal(session.seq, 7);
  assert.equal(watch.problems.length, 1);
  assert.match(String(watch.problems[0]), /a hole in the sequence: `s` 6 after 4/);
});

test("a replay with a frame missing is not believed", async (t) => {
  const { fake, peer, watch } = await joined(t);
  peer.cut();
  const second = await fake.peer();
  await second.resume();
  second.raw({ op: "resumed", d: { seq: 3, replayed: 1, resume_token: "x" } });
  await second.closed;
  const third = await fake.peer();
  const { d } = await third.resume();
  assert.deepEqual([d.seq, d.resume_token], [2, "s1-token"]);
  third.resumed();
  await watch.next("open");
  assert.match(String(watch.problems[0]), /`resumed` after 3 with 1 frames, but 0 came/);
});

const STRANGERS: readonly [name: string, greet: (peer: Peer) => void, said: RegExp][] = [
  ["another version", (peer) => peer.hello({ protocol: 2 }), /^ConnectError: the server speaks protocol 2/],
  [
    "another version's hello",
    (peer) => peer.raw({ op: "hello", d: { protocol: 9 } }),
    /protocol 9, this client 1/,
  ],
  ["no hello", (peer) => peer.ready(), /before there is a session/],
  ["an interval of 0", (peer) => peer.hello({ heartbeat_ms: 0 }), /`heartbeat_ms` of `hello`/],
  ["a hello of another shape", (peer) => peer.hello({ server: 1 }), /`server` of a `hello`/],
];
for (const [name, greet, said] of STRANGERS) {
  test(`a stranger is left: ${name}`, async (t) => {
    const fake = await serve(t);
    const playing = play(t, fake.url);
    playing.catch(() => {});
    const peer = await fake.peer();
    greet(peer);
    await within(peer.closed, "the close");
    await assert.rejects(playing, said);
    assert.equal(fake.sockets, 1);
  });
}

test("a server that chooses another subprotocol is left", async (t) => {
  const fake = await serve(t, "npc.v1.json");
  await assert.rejects(play(t, fake.url, { encoding: "msgpack" }), ConnectError);
});

test("an `error` instead of `ready` is told by connect", async (t) => {
  const fake = await serve(t);
  const playing = play(t, fake.url);
  const peer = await fake.peer();
  peer.hello();
  await peer.expect("identify");
  peer.raw({ op: "error", d: { code: "bad_payload", message: "why", temporary: false, field: "client" } });
  await assert.rejects(playing, (error) => error instanceof RequestError && error.field === "client");
});

test("frames and keys of a newer server are passed on, and change nothing", async (t) => {
  const { peer, session, watch } = await meet(t);
  const frames: string[] = [];
  session.on("frame", ({ op, d }) => frames.push(`${op} ${d["later"]}`));
  peer.send("npc.sneezed", { later: 1 });
  peer.raw({ op: "weather", d: { later: 2 } });
  const gone = session.once("npc.left");
  peer.send("npc.left", { npc: "x", later: 3 });
  await gone;
  assert.deepEqual(frames, ["npc.sneezed 1", "weather 2", "npc.left 3"]);
  assert.deepEqual([session.state, watch.problems], ["open", []]);
});

test("a server that is silent is left and asked again", async (t) => {
  const { fake, peer, watch } = await meet(t, {}, { heartbeat_ms: 50 });
  await within(peer.closed, "the close");
  assert.equal((await watch.next("reconnecting")).code, 4003);
  await (await fake.peer()).resume();
});

test("a server that opens the socket and says nothing is left in time", async (t) => {
  const fake = await serve(t);
  await assert.rejects(play(t, fake.url, { connectTimeoutMs: 50 }), /no answer for 50 ms/);
});

test("deltas that do not join fail their turn, and no other", async (t) => {
  const { peer, npc } = await joined(t);
  const turns = ["a", "b"].map((turn) => npc.say("Hello", { turn }));
  for (const { id } of turns) {
    peer.started(id, (await peer.expect("say")).cid);
    peer.delta(id, "Gut ", 0);
  }
  peer.delta("a", "x", 3);
  peer.delta("b", "🦇", 4);
  peer.delta("b", "!", 5);
  peer.done("a", "Gut x");
  peer.done("b", "Gut 🦇!");
  await assert.rejects(turns[0]?.done ?? Promise.resolve(), /a delta at offset 3 after 4 characters/);
  assert.equal((await turns[1]?.done)?.text, turns[1]?.text);
});

test("a turn without an end is given up before it fills the memory, and the session goes on", async (t) => {
  const { peer, session, npc } = await joined(t);
  const [many, large] = [npc.say("Hello", { turn: "many" }), npc.say("Hello", { turn: "large" })];
  for (const { id } of [many, large]) peer.started(id, (await peer.expect("say")).cid);
  for (let offset = 0; offset < 20_000; offset += 1) peer.delta("many", "x", offset);
  const piece = "x".repeat(1_000_000);
  for (let index = 0; index < 5; index += 1) peer.delta("large", piece, index * piece.length);
  await assert.rejects(many.done, /turn many has no end: 16384 events/);
  await assert.rejects(large.done, /turn large has no end: 5 events/);
  assert.equal(session.state, "open");
});

test("turns of others and requests have a bound", async (t) => {
  const { peer, session, npc } = await joined(t);
  let heard = 0;
  session.on("turn", () => {
    heard += 1;
  });
  const gone = session.once("npc.left");
  for (let index = 0; index < 3000; index += 1) peer.started(`t${index}`, undefined, "jonathan");
  peer.send("npc.left", left);
  await gone;
  assert.equal(heard, 3000);
  const mine = Array.from({ length: 256 }, () => npc.say("Hello"));
  assert.throws(() => npc.say("Hello"), /^UsageError: 256 turns are running already/);
  for (const turn of mine) turn.done.catch(() => {});
  const asked = Array.from({ length: 1024 }, () => npc.focus());
  for (const focus of asked) focus.catch(() => {});
  await assert.rejects(
    npc.focus(),
    (error) => error instanceof UsageError && /1024 requests/.test(error.message),
  );
});

test("a frame that the server would close for is refused here", async (t) => {
  const { peer, npc } = await joined(t, {}, { max_frame_bytes: 1000 });
  assert.throws(
    () => npc.say("x".repeat(1000)),
    /^UsageError: a `say` of \d+ bytes; the server takes at most 1000/,
  );
  const turn = npc.say("x".repeat(500));
  peer.done(turn.id, "yes", "stop", (await peer.expect("say")).cid);
  await turn.done;
});
