// A session with a gateway that does what a test says.

import type { TestContext } from "node:test";
import type { ConnectOptions, Npc, Session } from "npc-gateway-client";
import { FakeGateway, type Peer } from "./fake.js";
import { play, Watch } from "./player.js";

export async function serve(t: TestContext, protocol?: string): Promise<FakeGateway> {
  const fake = await FakeGateway.start(protocol);
  t.after(() => fake.stop());
  return fake;
}

export interface Met {
  fake: FakeGateway;
  peer: Peer;
  session: Session;
  watch: Watch;
}

/** The handshake of a session, up to `ready`. */
export async function meet(t: TestContext, options: Partial<ConnectOptions> = {}, hello = {}): Promise<Met> {
  const fake = await serve(t);
  const playing = play(t, fake.url, options);
  const peer = await fake.peer();
  await peer.identified("s1", hello);
  const session = await playing;
  return { fake, peer, session, watch: new Watch(session) };
}

/** The same with an NPC that was joined: the next `s` is 3. */
export async function joined(
  t: TestContext,
  options: Partial<ConnectOptions> = {},
  hello = {},
): Promise<Met & { npc: Npc }> {
  const met = await meet(t, options, hello);
  const joining = met.session.join({ npc: "bram", archetype: "vampire" });
  await met.peer.joined();
  return { ...met, npc: await joining };
}
