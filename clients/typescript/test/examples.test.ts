// What the README and the examples show runs, against the real gateway.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { Gateway } from "./support/gateway.js";
import { NODE, PACKAGE, run } from "./support/run.js";

const gateway = await Gateway.start();
test.after(() => gateway.stop());

const chat = join("examples", "chat.mjs");

test("the README's example", async () => {
  const blocks = [...readFileSync(join(PACKAGE, "README.md"), "utf8").matchAll(/```js\n(.*?)```/gs)];
  assert.equal(blocks.length, 1);
  const [, block = ""] = blocks[0] ?? [];
  assert.ok(block.includes("ws://127.0.0.1:7777"));
  const program = block.replace("ws://127.0.0.1:7777", gateway.url);
  const { code, out, complaint } = await run([...NODE, "--input-type=module", "--eval", program], PACKAGE);
  assert.equal(code, 0, complaint);
  assert.match(out, /^.+\n(stop|length): \d+ tokens\n$/s);
});

test("the chat", async () => {
  const words = [...NODE, chat, gateway.url, "--player", "mina", "--npc", "chatty"];
  const { code, out, complaint } = await run(words, PACKAGE, "Hello\n\n/quit\nMore\n");
  assert.equal(code, 0, complaint);
  assert.match(out, /^\S.*: \S.*\n$/);
});

test("the chat says what is wrong", async () => {
  const words = [...NODE, chat, gateway.url, "--npc", "new", "--archetype", "accountant"];
  const { code, complaint } = await run(words, PACKAGE);
  assert.equal(code, 1);
  assert.match(complaint, /error: unknown_archetype: /);
});
