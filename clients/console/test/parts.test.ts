// The parts that need no browser: faces and speech on the turn's clock, frames that are filtered.

import assert from "node:assert/strict";
import test from "node:test";
import type { Emotion, Social, TurnStarted } from "npc-gateway-client";
import { neutral, SHAPES } from "../src/face/shapes.js";
import { noUnits, REGIONS, spelled, unitsOf } from "../src/face/units.js";
import { asJson, FrameLog, KEPT, matches } from "../src/net/log.js";
import { scoreOf } from "../src/talk/score.js";
import { type Proposal, TurnRecord } from "../src/turn/record.js";
import { Speech } from "../src/turn/speech.js";
import { FaceTrack } from "../src/turn/track.js";
import { count } from "../src/ui/format.js";

const JAW = SHAPES.indexOf("jawOpen");

function key(t_ms: number, ease_ms: number, jaw: number, au: { [unit: string]: number } = {}) {
  const w = new Uint8Array(SHAPES.length);
  w[JAW] = jaw;
  return { t_ms, ease_ms, w, au };
}

function jawAt(track: FaceTrack, t: number): number {
  const pose = neutral();
  track.poseAt(t, pose);
  return Math.round((pose[JAW] ?? Number.NaN) * 255);
}

test("a face moves evenly from key to key, and stays between them", () => {
  const track = new FaceTrack(SHAPES, neutral());
  track.add(key(100, 100, 200), 0);
  track.add(key(400, 50, 100), 0);
  const seen = [0, 100, 150, 200, 399, 425, 450, 9000].map((t) => jawAt(track, t));
  assert.deepEqual(seen, [0, 0, 100, 200, 200, 150, 100, 100]);
  assert.equal(track.endMs, 450);
});

test("the first key of a turn begins where the face is", () => {
  const base = neutral();
  base[JAW] = 1;
  const track = new FaceTrack(SHAPES, base);
  track.add(key(0, 100, 0), 0);
  assert.deepEqual([jawAt(track, -1), jawAt(track, 50), jawAt(track, 100)], [255, 128, 0]);
});

test("shapes in another order are found by their names", () => {
  const names = [...SHAPES].reverse();
  const track = new FaceTrack(names, neutral());
  const w = new Uint8Array(names.length);
  w[names.indexOf("jawOpen")] = 255;
  track.add({ t_ms: 0, ease_ms: 0, w, au: {} }, 0);
  assert.equal(jawAt(track, 1), 255);
});

test("a cut ends what is under way where it is, and neutral takes all of its time from then on", () => {
  const track = new FaceTrack(SHAPES, neutral());
  track.add(key(0, 100, 200), 0);
  track.add(key(200, 100, 0), 0);
  track.add(key(500, 100, 250), 0);
  // The word of it comes at 260, when the second key is under way.
  track.cut(250, 260);
  const there = jawAt(track, 260);
  assert.ok(there > 70 && there < 90, String(there));
  assert.equal(jawAt(track, 400), there);
  track.add(key(250, 300, 0), 300);
  assert.deepEqual(
    [jawAt(track, 300), jawAt(track, 450), jawAt(track, 600)],
    [there, Math.round(there / 2), 0],
  );
});

test("units have sides", () => {
  const units = unitsOf({ AU12: 0.5, AU14L: 1, AU61: 1 });
  assert.match(spelled(units), /^AU14 dimpler 100 %, AU12 lip corner puller 50 %$/);
  assert.equal(spelled(noUnits()), "no action unit");
});

test("characters are spoken when their piece is due, evenly up to the next one", () => {
  const speech = new Speech();
  speech.add("I am ", 0, 100);
  speech.add("the night.", 5, 600);
  const spoken = [0, 100, 350, 600, 700, 5000].map((t) => speech.spokenAt(t));
  assert.deepEqual(spoken, [0, 0, 2, 5, 6, 15]);
  assert.deepEqual(
    speech.words().map(({ text }) => text),
    ["I", "am", "the", "night."],
  );
  assert.equal(speech.words()[2]?.from, 600);
  speech.cut(7);
  assert.deepEqual([speech.spokenAt(5000), speech.valid], [7, "I am th"]);
});

test("offsets count characters, whatever JavaScript counts", () => {
  const speech = new Speech();
  speech.add("🦇🦇 ", 0, 0);
  speech.add("ja", 3, 300);
  assert.equal(speech.length, 5);
  assert.equal(speech.slice(0, 2), "🦇🦇");
  assert.equal(speech.spokenAt(200), 2);
  assert.deepEqual(speech.words()[1], { text: "ja", from: 300, to: 500 });
  // What leaves a hole, or comes twice, is not taken.
  speech.add("ja", 3, 300);
  assert.equal(speech.text, "🦇🦇 ja");
});

test("the list of frames has a bound, filters by words, and keeps no token", () => {
  const log = new FrameLog((message) => JSON.parse(String(message)));
  log.add("out", JSON.stringify({ op: "identify", d: { token: "secret" } }));
  const [identify] = [...log.from()];
  assert.ok(identify);
  assert.equal(asJson(identify), '{"op":"identify","d":{"token":"…"}}');
  for (let index = 1; index < KEPT + 10; index += 1) {
    const op = index % 2 === 0 ? "face.key" : "say";
    log.add(index % 2 === 0 ? "in" : "out", JSON.stringify({ op, d: { index } }));
  }
  const kept = [...log.from()];
  assert.equal(kept.length, KEPT);
  assert.equal(kept[0]?.number, 11);
  assert.equal([...log.from(KEPT + 5)].length, 6);
  const [key, say] = kept;
  assert.ok(key && say);
  const filters = [
    [key, "face"],
    [key, "-face"],
    [say, "out say"],
    [say, "face -"],
  ] as const;
  assert.deepEqual(
    filters.map(([frame, filter]) => matches(frame, filter)),
    [true, false, true, false],
  );
  log.add("in", "no frame");
  assert.equal([...log.from(log.count)][0]?.op, "?");
});

test("a timeline has a turn as plain values, up to where it was cut off", () => {
  assert.deepEqual(scoreOf(undefined, 50).face, []);
  assert.equal(scoreOf(undefined, 50).span, 4000);
  const started = { turn: "t", player: "p", npc: "n", text: "?", adapters: [], generic: false };
  const record = new TurnRecord(started as unknown as TurnStarted, 0, SHAPES, neutral());
  record.face.add(key(0, 1000, 255, { AU26: 1 }), 0);
  record.speech.add("No more.", 0, 200);
  record.emotions.push({ t_ms: 100, label: "anger", intensity: 0.5 } as unknown as Emotion);
  record.actions.push({ t_ms: 900, name: "bow", p: 0.25, retracted: true } as unknown as Proposal);
  record.socials.push({ t_ms: 300, delta: { trust: 0.01, fear: 0.2 } } as unknown as Social);
  const score = scoreOf(record, 40);
  // It crosses to another thread as it is.
  assert.deepEqual(structuredClone(score), score);
  const jaw = score.face[REGIONS.indexOf("jaw")] ?? [];
  assert.equal(jaw.length, 11);
  assert.deepEqual([jaw[0], jaw[5], jaw[10]], [0, 0.5, 1]);
  assert.deepEqual(score.feelings, [{ t: 100, label: "anger", intensity: 0.5 }]);
  assert.deepEqual(score.acts, [
    { t: 300, text: "fear +0.20", color: "warn", out: false },
    { t: 900, text: "bow 25 %", color: "faint", out: true },
  ]);
  assert.equal(score.cut, undefined);
  assert.equal(score.feltTo, record.endMs);
});

test("thousands stand apart", () => {
  assert.deepEqual([0, 999, 1000, -12_345, 1_234_567].map(count), [
    "0",
    "999",
    "1,000",
    "-12,345",
    "1,234,567",
  ]);
});

test("what can wait waits while many messages come, and not for ever", async () => {
  const asked: FrameRequestCallback[] = [];
  Object.assign(globalThis, {
    requestAnimationFrame: (frame: FrameRequestCallback) => asked.push(frame),
    matchMedia: () => ({ matches: false }),
  });
  const { loop } = await import("../src/ui/loop.js");
  const seen: boolean[] = [];
  const off = loop.add({
    frame: () => {
      seen.push(loop.isFull);
      return false;
    },
  });
  const frame = (messages: number) => {
    for (let message = 0; message < messages; message += 1) loop.came();
    loop.wake();
    asked.shift()?.(0);
  };
  for (const messages of [0, 1, 12, 1, 12, 12, 12, 12, 12, 0]) frame(messages);
  off();
  assert.deepEqual(seen, [false, false, true, false, true, true, true, false, true, false]);
});
