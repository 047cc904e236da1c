// The real gateway with the real model: conversations, and the network lost in the middle of them.

import assert from "node:assert/strict";
import test from "node:test";
import { RequestError, scalars, type Turn, type TurnEvent } from "npc-gateway-client";
import { Gateway, scripted } from "./support/gateway.js";
import { Network } from "./support/network.js";
import { ENCODINGS, GREEDY, play, Watch } from "./support/player.js";
import { within } from "./support/within.js";

const gateway = await Gateway.start();
// 48 words take a second, wherever in it the network is lost.
const slow = await Gateway.start(...scripted(48));
test.after(() => Promise.all([gateway.stop(), slow.stop()]));

/** All pieces of a turn, as its reader gets them. */
async function heard(turn: Turn, piece?: (count: number) => void): Promise<string> {
  let text = "";
  let count = 0;
  for await (const delta of turn) {
    assert.equal(delta.offset, scalars(text));
    text += delta.text;
    count += 1;
    piece?.(count);
  }
  return text;
}

/** 1, 2, … up to the last one. */
const counted = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

for (const encoding of ENCODINGS) {
  test(`${encoding}: a conversation`, async (t) => {
    const token = `mina-${encoding}`;
    const session = await play(t, gateway.url, { token, encoding });
    assert.equal(session.player, token);
    assert.equal(session.hello.engine, "model");
    const npc = await session.join({ npc: `bram-${encoding}`, archetype: "vampire", name: "Bram" });
    assert.deepEqual([npc.info.npc.name, npc.info.npc.archetype], ["Bram", "vampire"]);
    assert.ok((await npc.focus()).tokens > 0);
    for (const line of ["Good evening. Who are you?", "What do you drink?"]) {
      const turn = npc.say(line, { generation: GREEDY });
      const text = await heard(turn);
      const done = await turn.done;
      assert.ok(["stop", "length"].includes(done.reason), done.reason);
      assert.notEqual(text, "");
      assert.deepEqual([text, turn.text], [done.text, done.text]);
      const began = await turn.started;
      assert.deepEqual([began.text, began.player, began.npc], [line, token, npc.id]);
      const events: TurnEvent[] = [];
      for await (const event of turn.events()) events.push(event);
      assert.equal(events[0]?.op, "turn.started");
      assert.deepEqual(events.at(-1), { op: "turn.done", d: done });
    }
    await npc.leave();
  });

  test(`${encoding}: requests that are refused`, async (t) => {
    const session = await play(t, gateway.url, { token: "renfield", encoding });
    const refused = (code: string, field?: string) => (error: unknown) => {
      assert.ok(error instanceof RequestError, String(error));
      assert.deepEqual([error.code, error.field], [code, field]);
      return true;
    };
    await assert.rejects(
      session.join({ npc: "x", archetype: "accountant" }),
      refused("unknown_archetype", "archetype"),
    );
    await assert.rejects(
      session.join({ npc: "no spaces", archetype: "vampire" }),
      refused("bad_payload", "npc"),
    );
    const npc = await session.join({ npc: `left-${encoding}`, archetype: "ghoul" });
    const hot = npc.say("Hello", { generation: { temperature: 9 } });
    await assert.rejects(hot.done, refused("bad_payload", "generation.temperature"));
    const gift = await npc.event({ kind: "gift", text: "A bone" });
    assert.match(gift.interaction, /^[0-9a-f-]{36}$/);
    await npc.leave();
    await assert.rejects(npc.say("Hello").done, refused("unknown_npc", "npc"));
  });

  test(`${encoding}: an interrupted line`, async (t) => {
    const session = await play(t, slow.url, { token: "lucy", encoding });
    const npc = await session.join({ npc: `cut-${encoding}`, archetype: "lich" });
    const turn = npc.say("Tell me everything you know.");
    const first = await turn.first("dialogue.delta");
    const heardOffset = scalars(first?.text ?? "");
    turn.playback(heardOffset);
    const cancelled = await turn.cancel({ heardOffset });
    const done = await turn.done;
    assert.equal(done.reason, "cancelled");
    assert.equal(cancelled.valid_through.text_offset, heardOffset);
    assert.equal(scalars(done.text), heardOffset);
    assert.ok(turn.text.startsWith(done.text));
  });

  test(`${encoding}: the network is cut in the middle of frames`, async (t) => {
    const network = await Network.open(gateway.port);
    t.after(() => network.close());
    const session = await play(t, network.url, { token: `jonathan-${encoding}`, encoding });
    const watch = new Watch(session);
    // Before the watch there was one numbered frame, `ready`.
    assert.equal(session.seq, 1);
    const npc = await session.join({ npc: `tunnel-${encoding}`, archetype: "vampire" });
    const { session: id } = session.ready;
    // Within the first frames of the answer, wherever in one that is.
    for (const bytes of [263, 402, 551, 689]) {
      const { cuts } = network;
      network.cutAfter(bytes);
      const turn = npc.say(`After ${bytes} bytes: who sleeps below?`, { generation: GREEDY });
      const text = await heard(turn);
      assert.notEqual(text, "");
      assert.deepEqual([text, turn.text], [(await turn.done).text, text]);
      assert.equal(network.cuts, cuts + 1, "the answer was too short to be cut");
      assert.equal((await watch.next("reconnecting")).code, 1006);
      assert.equal((await watch.next("open")).resumed, true);
    }
    assert.equal(session.ready.session, id);
    // Every frame once.
    assert.deepEqual(watch.numbers, counted(session.seq).slice(1));
    assert.deepEqual(watch.problems, []);
  });

  test(`${encoding}: the network is lost many times in one line`, async (t) => {
    const network = await Network.open(slow.port);
    t.after(() => network.close());
    const session = await play(t, network.url, { token: `quincey-${encoding}`, encoding });
    const watch = new Watch(session);
    const npc = await session.join({ npc: `patient-${encoding}`, archetype: "zombie" });
    const turn = npc.say("Count the graves.", { generation: { seed: 0 } });
    const text = await heard(turn, (count) => {
      if (count % 8 === 3) network.cut();
    });
    const done = await turn.done;
    assert.equal(done.reason, "stop");
    assert.equal(text, done.text);
    assert.ok(text.startsWith("You have come a long way"), text);
    assert.ok(network.cuts >= 4, `${network.cuts} cuts`);
    assert.ok(watch.states.every((change) => change.state !== "open" || change.resumed));
    assert.deepEqual(watch.numbers, counted(session.seq).slice(1));
  });

  test(`${encoding}: what happens while there is no network`, async (t) => {
    const network = await Network.open(slow.port);
    t.after(() => network.close());
    const session = await play(t, network.url, { token: `arthur-${encoding}`, encoding });
    const watch = new Watch(session);
    const npc = await session.join({ npc: `away-${encoding}`, archetype: "werewolf" });
    const running = npc.say("Do you hear that?", { generation: { seed: 5 } });
    await running.started;
    network.down = true;
    network.cut();
    await watch.next("reconnecting");
    assert.equal(session.state, "reconnecting");
    const said = npc.say("Are you there?", { generation: { seed: 4 } });
    const joined = session.join({ npc: `later-${encoding}`, archetype: "ghoul" });
    // An attempt that came to nothing.
    await watch.next("reconnecting");
    network.down = false;
    assert.equal((await watch.next("open")).resumed, true);
    assert.equal((await joined).info.npc.archetype, "ghoul");
    for (const [turn, words] of [
      [running, "Listen. Do you hear"],
      [said, "Gold is heavy"],
    ] as const) {
      const done = await turn.done;
      assert.equal(turn.text, done.text);
      assert.ok(done.text.startsWith(words), done.text);
    }
  });
}

test("a gateway that starts anew", async (t) => {
  const first = await Gateway.start();
  let second: Gateway | undefined;
  const network = await Network.open(first.port);
  try {
    const session = await play(t, network.url, { token: "harker" });
    const watch = new Watch(session);
    const npc = await session.join({ npc: "castle", archetype: "vampire", seed: 7 });
    const done = await npc.say("Good evening", { generation: GREEDY }).done;
    const old = session.ready.session;
    network.down = true;
    await first.stop();
    assert.equal((await watch.next("reconnecting")).code, 4001);
    second = await Gateway.start();
    network.target = second.port;
    network.down = false;
    assert.equal((await watch.next("open")).resumed, false);
    // The NPC was made anew, from the same seed.
    assert.equal((await npc.say("Good evening", { generation: GREEDY }).done).text, done.text);
    assert.deepEqual(watch.resets, ["draining"]);
    assert.notEqual(session.ready.session, old);
  } finally {
    await Promise.all([network.close(), first.stop(), second?.stop()]);
  }
});

test("heartbeats say what has come, and are answered", async (t) => {
  const quick = await Gateway.start(...scripted(0), "session.heartbeat_ms=100");
  try {
    const session = await play(t, quick.url, { token: "harker" });
    const npc = await session.join({ npc: "clock", archetype: "zombie" });
    await npc.say("What time is it?").done;
    const { seq } = session;
    const acked: number[] = [];
    while (acked.length < 3) acked.push((await within(session.once("heartbeat_ack"), "an answer")).seq);
    assert.equal(acked.at(-1), seq);
    assert.equal(session.state, "open");
  } finally {
    await quick.stop();
  }
});
