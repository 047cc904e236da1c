// Every way to lose a socket, and what comes after it; with a gateway that does what a test says.

import assert from "node:assert/strict";
import test from "node:test";
import { CLOSE_CODES, ClosedError, ConnectError, SessionClosedError, TurnLostError } from "npc-gateway-client";
import { joined, meet, serve } from "./support/meet.js";
import { ENCODINGS, play, QUICK, Watch } from "./support/player.js";
import { within } from "./support/within.js";

const RESUMED = [1001, 1011, 4000, 4002, 4003, 4004, 4006, 4007, 4499];
const BEGUN_ANEW = [4001, 4005];
const LAST = [4500, 4501, 4502, 4503, 4504, 4505, 4506, 4507, 4999, 1003, 1009];
/** These ask for more patience than a lost network. */
const WAITED = [4001, 4004, 4005];

test("every close code of the protocol is in one of the lists", () => {
  const listed = new Set([...RESUMED, ...BEGUN_ANEW, ...LAST]);
  for (const code of Object.keys(CLOSE_CODES)) assert.ok(listed.has(Number(code)), code);
});

for (const encoding of ENCODINGS) {
  for (const code of [...RESUMED, "cut"] as const) {
    test(`${encoding}: after ${code} the session is resumed`, async (t) => {
      const fake = await serve(t);
      const playing = play(t, fake.url, { encoding });
      const first = await fake.peer();
      const identify = await first.identified();
      assert.deepEqual(identify.d, { token: "mina", client: { name: "tests", version: "1" } });
      const session = await playing;
      const watch = new Watch(session);
      const joining = session.join({ npc: "bram", archetype: "vampire" });
      await first.joined();
      const turn = (await joining).say("Hello", { turn: "t" });
      const say = await first.expect("say");
      first.started("t", say.cid);
      first.delta("t", "Good ", 0);
      await turn.first("dialogue.delta");
      if (code === "cut") first.cut();
      else first.close(code, "why");

      const second = await fake.peer();
      const { d } = await second.resume();
      assert.deepEqual(d, { session: "s1", resume_token: "s1-token", epoch: "e1", seq: 4 });
      second.delta("t", "eve", 5);
      second.delta("t", "ning", 8);
      second.resumed(2);
      second.done("t", "Good evening", "stop", say.cid);
      assert.equal((await turn.done).text, "Good evening");
      assert.equal(turn.text, "Good evening");
      const lost = await watch.next("reconnecting");
      assert.equal(lost.code, code === "cut" ? 1006 : code);
      if (code !== "cut" && WAITED.includes(code)) assert.ok(lost.delayMs >= QUICK.waitMs / 2);
      assert.equal((await watch.next("open")).resumed, true);
      assert.equal(session.seq, 7);
      assert.deepEqual(watch.numbers, [2, 3, 4, 5, 6, 7]);
    });
  }
}

for (const code of BEGUN_ANEW) {
  test(`after ${code} there is a new session, in which everything goes on`, async (t) => {
    const { fake, peer: first, session, watch } = await meet(t);
    const joining = session.join({ npc: "bram", archetype: "vampire", seed: 7 });
    await first.joined();
    const turn = (await joining).say("Hello", { turn: "t" });
    const said = await first.expect("say");
    first.close(code);

    const second = await fake.peer();
    await second.identified("s2");
    // It meets its NPCs again, as they were asked for, and says again what had no end.
    assert.deepEqual((await second.joined()).d, { npc: "bram", archetype: "vampire", seed: 7 });
    const say = await second.expect("say");
    assert.deepEqual(say.d, said.d);
    second.done("t", "stored", "stop", say.cid);
    assert.equal((await turn.done).text, "stored");
    assert.ok((await watch.next("reconnecting")).delayMs >= QUICK.waitMs / 2);
    assert.equal((await watch.next("open")).resumed, false);
    assert.deepEqual(watch.resets, [CLOSE_CODES[code]?.name]);
    assert.equal(session.ready.session, "s2");
  });
}

for (const code of LAST) {
  test(`after ${code} the client does not come back`, async (t) => {
    const { fake, peer, session, npc } = await joined(t);
    const turn = npc.say("Hello");
    await peer.expect("say");
    const waiting = npc.focus();
    peer.close(code, "why");

    const end = await within(session.closed, "the end of the session");
    assert.ok(end instanceof ClosedError, String(end));
    assert.deepEqual([end.code, end.reason], [code, CLOSE_CODES[code]?.name ?? "why"]);
    assert.equal(session.state, "closed");
    // Everything that waited is told why.
    await assert.rejects(turn.done, (error) => error instanceof TurnLostError && error.cause === end);
    await assert.rejects(waiting, (error) => error instanceof SessionClosedError && error.cause === end);
    await assert.rejects(npc.focus(), SessionClosedError);
    assert.throws(() => npc.say("Hello?"), SessionClosedError);
    assert.equal(fake.sockets, 1);
  });

  test(`${code} instead of a session is told by connect`, async (t) => {
    const fake = await serve(t);
    const playing = play(t, fake.url, { connectAttempts: 5 });
    const peer = await fake.peer();
    peer.hello();
    await peer.expect("identify");
    peer.close(code);
    await assert.rejects(playing, (error) => error instanceof ClosedError && error.code === code);
    assert.equal(fake.sockets, 1);
  });
}

const REFUSALS = ["unknown_session", "bad_token", "epoch_changed", "expired", "gap", "bad_subprotocol"];
for (const reason of REFUSALS) {
  test(`resume_failed ${reason}: a new session on the same socket`, async (t) => {
    const { fake, peer: first, watch, npc } = await joined(t);
    const turn = npc.say("Hello", { turn: "t" });
    const say = await first.expect("say");
    first.started("t", say.cid);
    first.delta("t", "Good ", 0);
    await turn.first("dialogue.delta");
    first.cut();

    const second = await fake.peer();
    await second.resume();
    second.raw({ op: "resume_failed", d: { reason, recovered: false } });
    await second.expect("identify");
    second.ready("s2", { epoch: "e2" });
    await second.joined();
    const again = await second.expect("say");
    assert.deepEqual(again.d, say.d);
    // It still runs; then it has ended, and what was missing comes with its end.
    second.error("duplicate_turn", { turn: "t" }, again.cid);
    const asked = await second.expect("say");
    second.done("t", "Good evening", "stop", asked.cid);
    const pieces: string[] = [];
    for await (const { text } of turn) pieces.push(text);
    assert.deepEqual(pieces, ["Good ", "evening"]);
    assert.equal((await turn.done).text, "Good evening");
    assert.equal((await watch.next("open")).resumed, false);
    assert.deepEqual(watch.resets, [reason]);

    // The next loss resumes the new session.
    second.cut();
    const third = await fake.peer();
    const { d } = await third.resume();
    assert.deepEqual(d, { session: "s2", resume_token: "s2-token", epoch: "e2", seq: 4 });
    third.resumed();
    assert.equal((await watch.next("open")).resumed, true);
  });
}

test("a turn that the gateway knows nothing of any more is lost, with the words that came", async (t) => {
  const { fake, peer: first, npc } = await joined(t);
  const turn = npc.say("Hello", { turn: "t" });
  const say = await first.expect("say");
  first.started("t", say.cid);
  first.delta("t", "Good ", 0);
  await turn.first("dialogue.delta");
  first.close(4001);
  const second = await fake.peer();
  await second.identified("s2");
  await second.joined();
  second.started("t", (await second.expect("say")).cid);
  await assert.rejects(turn.done, (error) => error instanceof TurnLostError && error.text === "Good ");
});

test("the newest resume token is used, and nothing is sent before `resumed`", async (t) => {
  const { fake, peer: first, session, watch, npc } = await joined(t);
  first.cut();

  // Lost in the middle of the replay: the old token still counts, and what came was received.
  const second = await fake.peer();
  assert.equal((await second.resume()).d.resume_token, "s1-token");
  const left = session.once("npc.left");
  second.send("npc.left", { npc: "x" });
  await left;
  second.cut();

  const third = await fake.peer();
  // A heartbeat of this interval would come during the replay.
  const { d } = await third.resume({ heartbeat_ms: 100 });
  assert.deepEqual([d.resume_token, d.seq], ["s1-token", 3]);
  const turn = npc.say("Hello");
  const another = session.once("npc.left");
  third.send("npc.left", { npc: "y" });
  await another;
  assert.equal(third.unread, 0);
  third.resumed(1, "third-token");
  third.done(turn.id, "yes", "stop", (await third.expect("say")).cid);
  assert.equal((await turn.done).text, "yes");
  third.cut();

  const fourth = await fake.peer();
  assert.equal((await fourth.resume()).d.resume_token, "third-token");
  fourth.resumed();
  await watch.next("open");
  assert.deepEqual(watch.problems, []);
});

test("no gateway, and one that gives up, are told at once", async (t) => {
  const fake = await serve(t);
  await fake.stop();
  await assert.rejects(play(t, fake.url), ConnectError);
  const other = await serve(t);
  const playing = play(t, other.url, { connectAttempts: 3 });
  for (let attempt = 0; attempt < 3; attempt += 1) (await other.peer()).cut();
  await assert.rejects(playing, /^ConnectError: cannot connect to ws:/);
  assert.equal(other.sockets, 3);
});

test("a session that cannot be brought back gives up after as many attempts as were asked for", async (t) => {
  const { fake, session } = await meet(t, { reconnect: { ...QUICK, attempts: 2 } });
  await fake.stop();
  assert.ok((await within(session.closed, "the end")) instanceof ConnectError);
});

test("closing, also by a signal, ends everything that waits", async (t) => {
  const ends = new AbortController();
  const { fake, peer, session } = await meet(t, { signal: ends.signal });
  const waiting = session.join({ npc: "bram" });
  await peer.expect("npc.join");
  ends.abort();
  await assert.rejects(waiting, SessionClosedError);
  assert.equal(await session.closed, undefined);
  assert.equal(await peer.closed, 1000);
  await assert.rejects(play(t, fake.url, { signal: ends.signal }), SessionClosedError);
});
