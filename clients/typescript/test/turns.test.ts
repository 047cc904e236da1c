// What the real gateway does not do yet or cannot be made to do at the right moment: everything that is in a turn besides
// its words, and requests over a lost socket.

import assert from "node:assert/strict";
import test from "node:test";
import { RequestError, type Turn, TurnLostError, UsageError } from "npc-gateway-client";
import { WebSocket } from "ws";
import { joined, meet } from "./support/meet.js";
import { ENCODINGS } from "./support/player.js";
import { within } from "./support/within.js";

const of = { turn: "t", player: "mina", text_offset: 0, t_ms: 0 };
const face = { ...of, ease_ms: 80, au: { AU12: 0.5 }, w: new Uint8Array(52).fill(7) };
/** Not due before this test has ended. */
const LATER = 1e9;

for (const encoding of ENCODINGS) {
  test(`${encoding}: everything that may be in a turn arrives with its type`, async (t) => {
    const { peer, session, npc } = await joined(t, { encoding });
    const turn = npc.say("Hello", { turn: "t" });
    const labels: string[] = [];
    session.on("emotion", ({ label }) => labels.push(label));
    peer.started("t", (await peer.expect("say")).cid);
    peer.send("emotion", { ...of, label: "joy", intensity: 0.5, probs: { joy: 1 } });
    peer.send("face.key", { ...face, w: peer.json ? [...face.w] : face.w });
    peer.delta("t", "Yes", 0);
    peer.send("action.proposed", { ...of, action: "a1", name: "bow", p: 0.75 });
    const relationship = { trust: 0.5, respect: 0, familiarity: 0, fear: 0, affection: 0 };
    peer.send("social", { ...of, delta: { trust: 0.25 }, relationship });
    peer.send("goal", { ...of, ranked: [{ id: "g", text: "Feed", p: 1 }] });
    peer.done("t", "Yes");
    const ops: string[] = [];
    for await (const { op } of turn.events()) ops.push(op);
    assert.deepEqual(
      ops.join(" "),
      "turn.started emotion face.key dialogue.delta action.proposed social goal turn.done",
    );
    assert.deepEqual(labels, ["joy"]);
    const key = await turn.first("face.key");
    assert.ok(key?.w instanceof Uint8Array);
    assert.deepEqual([...key.w], [...face.w]);
    assert.equal((await turn.first("action.proposed"))?.name, "bow");
    assert.equal(await turn.first("turn.cancelled"), undefined);

    const told = npc.actionResult({ turn: "t", action: "a1", ok: false, reason: "no room" });
    const result = await peer.expect("action.result");
    assert.deepEqual(result.d, { turn: "t", action: "a1", ok: false, reason: "no room" });
    peer.send("event.recorded", { interaction: "i1" }, result.cid);
    assert.equal((await told).interaction, "i1");

    const acting = npc.act({ act: "n1", tasks: ["goal_prioritization"], context: "night" });
    const act = await peer.expect("npc.act");
    assert.deepEqual(act.d, { npc: "bram", act: "n1", tasks: ["goal_prioritization"], context: "night" });
    const results = { goal_prioritization: { choice: "g", probs: { g: 1 } } };
    peer.send("npc.acted", { npc: "bram", act: "n1", results }, act.cid);
    assert.deepEqual((await acting).results, results);
  });
}

test("events are presented when they are due, and what a cancel took back never", async (t) => {
  const { peer, npc } = await joined(t);
  const turn = npc.say("Hello", { turn: "t" });
  peer.started("t", (await peer.expect("say")).cid);
  peer.delta("t", "Good ", 0);
  peer.delta("t", "evening, stranger", 5, LATER);
  peer.send("emotion", { ...of, t_ms: LATER, text_offset: 5, label: "joy", intensity: 1, probs: {} });
  // It comes behind them, and is due before.
  peer.send("face.key", face);
  const shown: string[] = [];
  const events = turn.presented();
  const next = async () => {
    const { value } = await within(events.next(), "an event");
    if (value) shown.push(value.op === "dialogue.delta" ? value.d.text : value.op);
  };
  for (let index = 0; index < 3; index += 1) await next();
  assert.deepEqual(shown, ["turn.started", "Good ", "face.key"]);
  assert.equal(turn.text, "Good evening, stranger");
  assert.equal(turn.dueOffset, 5);

  const cancelling = turn.cancel({ heardOffset: turn.dueOffset });
  const cancel = await peer.expect("cancel");
  assert.deepEqual(cancel.d, { turn: "t", heard_offset: 5 });
  const valid_through = { text_offset: 5, t_ms: 0 };
  peer.send("turn.cancelled", { turn: "t", player: "mina", valid_through, retracted: ["a1"] }, cancel.cid);
  peer.send("face.key", { ...face, au: {}, text_offset: 5 });
  peer.done("t", "Good ", "cancelled");
  assert.deepEqual((await cancelling).retracted, ["a1"]);
  while (shown.at(-1) !== "turn.done") await next();
  assert.deepEqual(shown.slice(3).sort(), ["face.key", "turn.cancelled", "turn.done"]);
  assert.equal((await turn.done).text, "Good ");
});

test("what was heard only grows, and is said again after a lost socket", async (t) => {
  const { fake, peer, npc } = await joined(t);
  const turn = npc.say("Hello", { turn: "t" });
  peer.started("t", (await peer.expect("say")).cid);
  for (const heard of [3, 2, 5]) turn.playback(heard);
  assert.equal((await peer.expect("playback")).d.heard_offset, 3);
  assert.equal((await peer.expect("playback")).d.heard_offset, 5);
  peer.cut();
  const next = await fake.peer();
  await next.resume();
  next.resumed();
  assert.deepEqual((await next.expect("playback")).d, { turn: "t", heard_offset: 5 });
});

test("requests that were not answered are asked again, in their order", async (t) => {
  const { fake, peer, session, npc } = await joined(t);
  const [focus, event] = [
    npc.focus(),
    npc.event({ event: "e", kind: "gift", text: "A bone", importance: 0.5 }),
  ];
  const line = npc.say("Hello", { turn: "t" });
  for (const op of ["npc.focus", "event", "say"]) await peer.expect(op);
  const joining = session.join({ npc: "lucy", archetype: "ghoul" });
  await peer.expect("npc.join");
  peer.cut();
  const next = await fake.peer();
  await next.resume();
  next.resumed();
  await next.joined();
  next.done("t", "Yes", "stop", (await next.expect("say")).cid);
  next.send("npc.warm", { npc: "bram", tokens: 3, ms: 1 }, (await next.expect("npc.focus")).cid);
  const again = await next.expect("event");
  assert.deepEqual(again.d, { npc: "bram", event: "e", kind: "gift", text: "A bone", importance: 0.5 });
  next.send("event.recorded", { event: "e", interaction: "i" }, again.cid);
  assert.equal((await joining).id, "lucy");
  assert.equal((await line.done).text, "Yes");
  assert.equal((await focus).tokens, 3);
  assert.equal((await event).interaction, "i");
});

test("the line of another player is heard, and is not ours to interrupt", async (t) => {
  const { peer, session, npc } = await joined(t);
  const hearing = session.once("turn");
  // The same id as ours: player and turn together name it.
  const mine = npc.say("Hello", { turn: "t", audience: ["jonathan"] });
  const say = await peer.expect("say");
  assert.deepEqual(say.d.audience, ["jonathan"]);
  peer.started("t", undefined, "jonathan");
  peer.delta("t", "To him", 0, 0, "jonathan");
  peer.started("t", say.cid);
  peer.delta("t", "To her", 0);
  peer.done("t", "To him", "stop", undefined, "jonathan");
  peer.done("t", "To her", "stop", say.cid);
  const theirs: Turn = await hearing;
  assert.equal(theirs.player, "jonathan");
  assert.equal((await theirs.done).text, "To him");
  assert.equal((await mine.done).text, "To her");
  assert.throws(() => theirs.playback(1), UsageError);
});

test("a turn that fails says why, and how far it came", async (t) => {
  const { peer, npc } = await joined(t);
  const [refused, failed] = [npc.say("a", { turn: "a" }), npc.say("b", { turn: "b" })];
  peer.error("overloaded", { temporary: true, retry_after_ms: 250 }, (await peer.expect("say")).cid);
  const { cid } = await peer.expect("say");
  peer.started("b", cid);
  peer.delta("b", "I ", 0);
  peer.error("engine_failed", { turn: "b" });
  peer.done("b", "I ", "error", cid);
  await assert.rejects(refused.done, (error) => {
    assert.ok(error instanceof RequestError);
    assert.deepEqual([error.code, error.temporary, error.retryAfterMs], ["overloaded", true, 250]);
    return true;
  });
  await assert.rejects(failed.done, (error) => {
    assert.ok(error instanceof RequestError);
    assert.deepEqual([error.code, error.done?.text], ["engine_failed", "I "]);
    return true;
  });
  // Whoever reads it is told as well, after what came.
  const pieces: string[] = [];
  await assert.rejects(async () => {
    for await (const { text } of failed) pieces.push(text);
  }, RequestError);
  assert.deepEqual(pieces, ["I "]);
});

test("a line that comes twice in its own session goes on by itself", async (t) => {
  const { fake, peer, npc } = await joined(t);
  const turn = npc.say("Hello", { turn: "t" });
  await peer.expect("say");
  peer.cut();
  const next = await fake.peer();
  await next.resume();
  next.resumed();
  // The first one had arrived.
  const again = await next.expect("say");
  next.error("duplicate_turn", { turn: "t" }, again.cid);
  next.started("t", again.cid);
  next.delta("t", "Yes", 0);
  next.done("t", "Yes", "stop", again.cid);
  assert.equal((await turn.done).text, "Yes");
  assert.equal(next.unread, 0);
});

test("in a new session a line that was interrupted is not said again", async (t) => {
  const { fake, peer, npc } = await joined(t);
  const turn = npc.say("Hello", { turn: "t" });
  peer.started("t", (await peer.expect("say")).cid);
  const cancelling = turn.cancel();
  await peer.expect("cancel");
  peer.close(4001);
  const next = await fake.peer();
  await next.identified("s2");
  await next.joined();
  await assert.rejects(turn.done, TurnLostError);
  next.error("unknown_turn", {}, (await next.expect("cancel")).cid);
  await assert.rejects(cancelling, RequestError);
  assert.equal(next.unread, 0);
});

test("an NPC that was left is not joined again", async (t) => {
  const { fake, peer, session, npc } = await joined(t);
  const leaving = npc.leave();
  peer.send("npc.left", { npc: "bram" }, (await peer.expect("npc.leave")).cid);
  await leaving;
  assert.equal(session.npcs.size, 0);
  const reset = session.once("reset");
  peer.close(4001);
  await (await fake.peer()).identified("s2");
  assert.equal((await reset).reason, "draining");
});

test("a listener that fails disturbs nothing else", async (t) => {
  const { peer, session } = await meet(t);
  const faults: unknown[] = [];
  // Where uncaught errors come from; the test's own runner would take them for its own.
  t.mock.method(globalThis, "queueMicrotask", (task: () => void) => {
    Promise.resolve()
      .then(task)
      .catch((error) => faults.push(error));
  });
  const fault = new Error("mine");
  const off = session.on("npc.left", () => {
    throw fault;
  });
  const told = session.once("npc.left");
  peer.send("npc.left", { npc: "x" });
  await told;
  off();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(faults, [fault]);
  assert.equal(session.state, "open");
});

test("a network that takes nothing any more is as good as lost", async (t) => {
  let stuck = false;
  class Stuck extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      Object.defineProperty(this, "bufferedAmount", { get: () => (stuck ? 5 << 20 : 0) });
    }
  }
  const { fake, peer, session, watch } = await meet(t, { WebSocket: Stuck });
  stuck = true;
  const joining = session.join({ npc: "bram" });
  await within(peer.closed, "the close");
  stuck = false;
  const next = await fake.peer();
  await next.resume();
  next.resumed();
  await next.joined();
  await joining;
  assert.match((await watch.next("reconnecting")).reason, /takes nothing/);
});
