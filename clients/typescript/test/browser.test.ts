// The client in a real headless Chromium, with the real gateway: what Node's WebSocket does is no proof for a page.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";
import type { StateChange } from "npc-gateway-client";
import type { BrowserContext, Page } from "playwright-core";
import { launch } from "./support/browser.js";
import { Gateway, scripted } from "./support/gateway.js";
import { Network } from "./support/network.js";
import { Pages } from "./support/pages.js";
import { ENCODINGS, GREEDY, QUICK } from "./support/player.js";
import { HANG_MS } from "./support/within.js";

declare global {
  // What the tests give to their pages.
  interface Window {
    /** Takes the network away for a moment. */
    cut(): Promise<void>;
    /** Takes it away until it is told to come back. */
    down(): Promise<void>;
  }
}

const [browser, pages, strangers] = await Promise.all([launch(), Pages.serve(), Pages.serve()]);
const allowed = `server.allowed_origins=["${pages.origin}"]`;
const gateway = await Gateway.start(allowed);
// 48 words take a second, wherever in it the network is lost.
const slow = await Gateway.start(allowed, ...scripted(48));
test.after(async () => {
  await browser.close();
  await Promise.all([pages.close(), strangers.close(), gateway.stop(), slow.stop()]);
});

interface Visit {
  page: Page;
  context: BrowserContext;
  network: Network;
}

/** An empty page that can import the client, and a network of its own to a gateway. */
async function visit(
  t: { after(end: () => Promise<void>): void },
  to: Gateway,
  path = "/blank.html",
): Promise<Visit> {
  const network = await Network.open(to.port);
  const context = await browser.newContext();
  context.setDefaultTimeout(HANG_MS);
  t.after(async () => {
    await context.close();
    await network.close();
  });
  const page = await context.newPage();
  const faults: Error[] = [];
  page.on("pageerror", (fault) => faults.push(fault));
  t.after(async () => assert.deepEqual(faults, []));
  await page.exposeFunction("cut", () => network.cut());
  await page.exposeFunction("down", () => {
    network.down = true;
    network.cut();
  });
  const url = new URL(path, pages.origin);
  url.searchParams.set("url", network.url);
  await page.goto(url.href);
  return { page, context, network };
}

for (const encoding of ENCODINGS) {
  test(`${encoding}: a conversation that loses the network, resumes, and is finished`, async (t) => {
    const { page, network } = await visit(t, slow);
    const options = { url: network.url, token: `mina-${encoding}`, encoding, reconnect: QUICK };
    const seen = await page.evaluate(async (options) => {
      const { connect } = await import("npc-gateway-client");
      const session = await connect(options);
      const states: StateChange[] = [];
      const numbers: number[] = [];
      session.on("state", (change) => states.push(change));
      session.on("frame", ({ s }) => {
        if (s !== undefined) numbers.push(Number(s));
      });
      const npc = await session.join({ npc: `page-${options.encoding}`, archetype: "vampire" });
      const lines: { text: string; whole: string; reason: string }[] = [];
      for (const seed of [0, 2, 4]) {
        const turn = npc.say("Who are you?", { generation: { seed } });
        let text = "";
        let count = 0;
        for await (const piece of turn) {
          text += piece.text;
          count += 1;
          if (count % 10 === 4) await window.cut();
        }
        const { text: whole, reason } = await turn.done;
        lines.push({ text, whole, reason });
      }
      const last = session.seq;
      session.close();
      await session.closed;
      return { engine: session.hello.engine, states, numbers, last, lines };
    }, options);
    assert.equal(seen.engine, "scripted");
    const beginnings = ["You have come", "The gate? Left", "Gold is heavy"];
    for (const [index, { text, whole, reason }] of seen.lines.entries()) {
      assert.equal(reason, "stop");
      assert.equal(text, whole);
      assert.ok(whole.startsWith(beginnings[index] ?? "?"), whole);
    }
    assert.ok(network.cuts >= 9, `${network.cuts} cuts`);
    const back = seen.states.filter((change) => change.state === "open");
    assert.ok(back.length >= 3, JSON.stringify(seen.states));
    assert.ok(back.every((change) => change.resumed));
    // Every frame once, from the one after `ready` to the last.
    assert.deepEqual(
      seen.numbers,
      Array.from({ length: seen.last - 1 }, (_, index) => index + 2),
    );
  });

  test(`${encoding}: the real model, cut in the middle of a frame`, async (t) => {
    const { page, network } = await visit(t, gateway);
    const options = { url: network.url, token: `lucy-${encoding}`, encoding, reconnect: QUICK };
    const session = await page.evaluateHandle(async (options) => {
      const { connect } = await import("npc-gateway-client");
      return await connect(options);
    }, options);
    const npc = await session.evaluateHandle(
      (session, npc) => session.join({ npc, archetype: "lich" }),
      `cut-${encoding}`,
    );
    const resumed = session.evaluate(async (session) => {
      for (;;) {
        const change = await session.once("state");
        if (change.state === "open") return change.resumed;
      }
    });
    network.cutAfter(471);
    const said = await npc.evaluate(async (npc, generation) => {
      const turn = npc.say("What lies below?", { generation });
      let text = "";
      for await (const piece of turn) text += piece.text;
      return { text, done: await turn.done };
    }, GREEDY);
    assert.equal(network.cuts, 1, "the answer was too short to be cut");
    assert.equal(await resumed, true);
    assert.notEqual(said.text, "");
    assert.equal(said.text, said.done.text);
    await session.evaluate((session) => session.close());
  });
}

test("the network comes back to a browser that waits", async (t) => {
  const { page, context, network } = await visit(t, slow);
  // Nothing but the browser's word that it is online ends so long a wait.
  const reconnect = { initialMs: 1e9, maxMs: 1e9 };
  const session = await page.evaluateHandle(
    async (options) => {
      const { connect } = await import("npc-gateway-client");
      return await connect(options);
    },
    { url: network.url, token: "arthur", reconnect },
  );
  const answer = session.evaluate(async (session) => {
    const npc = await session.join({ npc: "tunnel", archetype: "ghoul" });
    const turn = npc.say("Do you hear that?", { generation: { seed: 5 } });
    let text = "";
    let states = 0;
    for await (const piece of turn) {
      if (text === "") {
        session.on("state", () => {
          states += 1;
        });
        const lost = session.once("state");
        await window.down();
        await lost;
        document.title = "lost";
      }
      text += piece.text;
    }
    return { text, whole: (await turn.done).text, states, state: session.state };
  });
  await page.waitForFunction(() => document.title === "lost");
  // It says so to the page alone: sockets that are open stay so, which is why the network is cut for itself.
  await context.setOffline(true);
  assert.equal(await page.evaluate(() => navigator.onLine), false);
  assert.equal(await session.evaluate((session) => session.state), "reconnecting");
  network.down = false;
  await context.setOffline(false);
  const { text, whole, states, state } = await answer;
  assert.equal(text, whole);
  assert.ok(whole.startsWith("Listen. Do you hear"), whole);
  // Lost once, back once.
  assert.deepEqual([states, state], [2, "open"]);
});

test("a page of another origin is refused, and told so", async (t) => {
  const { page, network } = await visit(t, slow);
  const attempt = async (url: string) => {
    const { connect } = await import("npc-gateway-client");
    try {
      (await connect({ url, token: "dracula" })).close();
      return "let in";
    } catch (error) {
      return String(error);
    }
  };
  assert.equal(await page.evaluate(attempt, network.url), "let in");
  await page.goto(`${strangers.origin}/blank.html`);
  assert.match(await page.evaluate(attempt, network.url), /^ConnectError: cannot connect to /);
});

test("the golden frames read and write the same in a browser", async (t) => {
  const { page } = await visit(t, slow);
  const names = (side: string) =>
    readdirSync(new URL(`../../../../schemas/golden/${side}/`, import.meta.url))
      .filter((name) => name.endsWith(".json"))
      .map((name) => `/golden/${side}/${name.slice(0, -".json".length)}`);
  const all = [...names("server"), ...names("client")];
  assert.ok(all.length > 60, String(all.length));
  const read = await page.evaluate(async (names) => {
    const { codec } = await import("npc-gateway-client");
    const [json, msgpack] = [codec("json"), codec("msgpack")];
    // As exact as 32 bits hold them, and blobs as JSON has them.
    const plain = (_: string, item: unknown) => {
      if (item instanceof Uint8Array) return [...item];
      if (typeof item === "bigint") return String(item);
      return typeof item === "number" && !Number.isInteger(item) ? Math.fround(item) : item;
    };
    const found: [name: string, json: string, msgpack: string, again: string][] = [];
    for (const name of names) {
      const [text, bytes] = await Promise.all([
        fetch(`${name}.json`).then((answer) => answer.text()),
        fetch(`${name}.msgpack`).then((answer) => answer.arrayBuffer()),
      ]);
      const [one, other] = [json.decode(text), msgpack.decode(bytes)];
      const again = msgpack.decode(msgpack.encode(other as never));
      found.push([
        name,
        JSON.stringify(one, plain),
        JSON.stringify(other, plain),
        JSON.stringify(again, plain),
      ]);
    }
    return found;
  }, all);
  for (const [name, json, msgpack, again] of read) {
    assert.deepEqual(JSON.parse(msgpack), JSON.parse(json), name);
    assert.deepEqual(JSON.parse(again), JSON.parse(json), name);
  }
});

test("the example's page", async (t) => {
  const { page } = await visit(t, gateway, "/examples/browser/index.html?player=mina&npc=chatty");
  await page.getByLabel("Your line").fill("Good evening");
  await page.getByRole("button", { name: "Say" }).click();
  const answer = page.locator("li[data-reason]");
  await answer.waitFor();
  assert.match((await answer.textContent()) ?? "", /^\S.*: \S/);
  assert.equal(await page.locator("li").first().textContent(), "mina: Good evening");
  assert.equal(await page.locator("#state").textContent(), "open");
});
