// Tokens that run out, are refused and are renewed; and sessions that another socket takes.

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { encode } from "@msgpack/msgpack";
import { ClosedError, type TokenReason } from "npc-gateway-client";
import { WebSocket } from "ws";
import { Gateway, scripted } from "./support/gateway.js";
import { joined, meet, serve } from "./support/meet.js";
import { Network } from "./support/network.js";
import { play, Watch } from "./support/player.js";
import { within } from "./support/within.js";

const keys = mkdtempSync(join(tmpdir(), "npc-gateway-keys-"));
const secret = randomBytes(32);
writeFileSync(join(keys, "hs.secret"), secret);
const gateway = await Gateway.start(
  ...scripted(0),
  ...["auth.mode=jwt", `auth.keys=${keys}`, "auth.leeway_s=0", "auth.play_grants=[]"],
);
test.after(async () => {
  await gateway.stop();
  rmSync(keys, { recursive: true, force: true });
});

/** A token of so many seconds. */
function jwt(player: string, seconds: number, key: Uint8Array = secret): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const signed = `${part({ alg: "HS256", kid: "hs" })}.${part({ sub: player, exp, scope: "play director" })}`;
  return `${signed}.${createHmac("sha256", key).update(signed).digest("base64url")}`;
}

test("a session outlives its tokens", async (t) => {
  const reasons: TokenReason[] = [];
  const token = (reason: TokenReason) => {
    reasons.push(reason);
    return jwt("mina", 3);
  };
  const session = await play(t, gateway.url, { token });
  assert.equal(session.player, "mina");
  const npc = await session.join({ npc: "long", archetype: "vampire" });
  // The first token has run out when the second renewal is answered.
  for (let renewals = 0; renewals < 2; renewals += 1) await within(session.once("authed"), "a renewal");
  const turn = npc.say("Still there?", { generation: { seed: 0 } });
  assert.equal((await turn.done).text, turn.text);
  assert.deepEqual(reasons.slice(0, 2), ["connect", "renew"]);
});

test("a token that cannot be renewed ends the session with 4502", async (t) => {
  // On a machine that stood still it may be too late for a session already.
  const playing = play(t, gateway.url, { token: jwt("lucy", 2) });
  const ended = playing.then(({ closed }) => closed).catch((error: unknown) => error);
  const end = await within(ended, "the end of the session");
  assert.ok(end instanceof ClosedError, String(end));
  assert.deepEqual([end.code, end.reason], [4502, "unauthenticated"]);
});

test("a token that ran out is told at once, and tokens of a wrong key after three", async (t) => {
  const refused = (error: unknown) => error instanceof ClosedError && error.code === 4502;
  await assert.rejects(play(t, gateway.url, { token: jwt("lucy", -10) }), refused);
  const reasons: TokenReason[] = [];
  const token = async (reason: TokenReason) => {
    reasons.push(reason);
    return { token: jwt("lucy", 60, randomBytes(32)), expiresAt: Date.now() + 60_000 };
  };
  await assert.rejects(play(t, gateway.url, { token }), refused);
  assert.deepEqual(reasons, ["connect", "rejected", "rejected"]);
});

test("a token source that fails is asked again, as often as there are attempts", async (t) => {
  const fake = await serve(t);
  let asked = 0;
  const token = () => {
    asked += 1;
    throw new Error("no network");
  };
  await assert.rejects(play(t, fake.url, { token, connectAttempts: 3 }), /no token: no network/);
  assert.deepEqual([asked, fake.sockets], [3, 0]);
});

test("after 4502 the session is resumed and shown the new token", async (t) => {
  const reasons: TokenReason[] = [];
  const token = (reason: TokenReason) => {
    reasons.push(reason);
    return `token-${reasons.length}`;
  };
  const { fake, peer, session, watch } = await meet(t, { token });
  peer.close(4502);
  const second = await fake.peer();
  await second.resume();
  second.resumed();
  const auth = await second.expect("auth");
  assert.deepEqual(auth.d, { token: "token-2" });
  second.send("authed", {}, auth.cid);
  assert.equal((await watch.next("open")).resumed, true);
  assert.deepEqual(reasons, ["connect", "rejected"]);
  assert.deepEqual([watch.problems, session.state], [[], "open"]);
});

test("a renewal by hand tells the new token, and what the server says of it", async (t) => {
  const { peer, session } = await joined(t);
  const renewing = session.renew("another");
  const auth = await peer.expect("auth");
  assert.deepEqual(auth.d, { token: "another" });
  peer.send("authed", { expires_ms: 60_000 }, auth.cid);
  await renewing;
  const refused = session.renew("a third");
  peer.error("forbidden", {}, (await peer.expect("auth")).cid);
  await assert.rejects(refused, /^RequestError: forbidden/);
});

test("a session that another socket takes stops with 4505", async (t) => {
  const network = await Network.open(gateway.port);
  t.after(() => network.close());
  const session = await play(t, network.url, { token: jwt("seward", 600) });
  const watch = new Watch(session);
  const { session: id, resume_token, epoch } = session.ready;
  // With the secret of the first, which only a copy of the program would know.
  const thief = new WebSocket(`${gateway.url}/ws`, ["npc.v1.msgpack"]);
  t.after(() => thief.terminate());
  thief.once("message", () => {
    thief.send(encode({ op: "resume", d: { session: id, resume_token, epoch, seq: session.seq } }));
  });
  const end = await within(session.closed, "the end of the session");
  assert.ok(end instanceof ClosedError, String(end));
  assert.deepEqual([end.code, end.reason], [4505, "session_replaced"]);
  assert.deepEqual(
    watch.states.map(({ state }) => state),
    ["closed"],
  );
});

test("the package ws does as well as the platform's WebSocket", async (t) => {
  const network = await Network.open(gateway.port);
  t.after(() => network.close());
  const session = await play(t, network.url, { token: () => jwt("arthur", 600), WebSocket });
  const watch = new Watch(session);
  const npc = await session.join({ npc: "other", archetype: "ghoul" });
  network.cutAfter(300);
  const turn = npc.say("Who goes there?", { generation: { seed: 2 } });
  assert.equal((await turn.done).text, turn.text);
  assert.equal(network.cuts, 1);
  assert.equal((await watch.next("open")).resumed, true);
});
