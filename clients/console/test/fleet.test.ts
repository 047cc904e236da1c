// What an operator sees of a server at work, and what they can change.

import assert from "node:assert/strict";
import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../../typescript/test/support/browser.js";
import { Gateway } from "../../typescript/test/support/gateway.js";
import { bringIn, isDone, picture, tell, until, visit } from "./support/visit.js";

/** Says how far it is and goes on until its standard input ends, as trainers do. */
const TRAINER = `#!/bin/sh
echo '{"task":"dialogue_style","step":12,"steps":80,"loss":2.31,"eta_s":40}'
cat > /dev/null
`;

const folder = mkdtempSync(join(tmpdir(), "npc-gateway-packs-"));
const packs = join(folder, "packs");
const ours = fileURLToPath(new URL("../../../../../../adapters/", import.meta.url));
for (const archetype of ["vampire", "ghoul"]) {
  cpSync(join(ours, archetype), join(packs, archetype), { recursive: true });
}
cpSync(join(ours, "defaults.toml"), join(packs, "defaults.toml"));
const style = join(packs, "vampire", "dialogue_style");
cpSync(join(style, "v1"), join(style, "v2"), { recursive: true });
// One that has lines and no adapters yet.
for (const task of [
  "dialogue_style",
  "personality",
  "world_knowledge",
  "emotional_response",
  "action_policy",
]) {
  rmSync(join(packs, "ghoul", task), { recursive: true, force: true });
}
for (const task of ["social_dynamics", "goal_prioritization"]) {
  rmSync(join(packs, "ghoul", task), { recursive: true, force: true });
}
const trainer = join(folder, "trainer");
writeFileSync(trainer, TRAINER);
chmodSync(trainer, 0o755);

const [browser, gateway] = await Promise.all([
  launch(),
  Gateway.start(`packs.path=${packs}`, "provision.auto=false", `provision.trainer=${trainer}`),
]);
test.after(async () => {
  await browser.close();
  await gateway.stop();
  rmSync(folder, { recursive: true, force: true });
});

test("sessions, the batch, memory and history of a server at work", async (t) => {
  const { page: talk } = await visit(t, browser, gateway);
  const stage = await bringIn(talk, "vampire", "busy");
  const { page } = await visit(t, browser, gateway, { path: "/fleet" });
  const figure = (name: string) => page.locator(".figure", { hasText: name }).locator("strong");
  await until(page, "two sessions", async () => (await figure("sessions").textContent()) === "2");
  await page.locator("tr[data-session]", { hasText: "busy" }).waitFor();
  const strip = page.locator(".strip canvas");
  const idle = await picture(strip);
  await isDone(await tell(stage, "Tell me of the crypt."));
  await until(
    page,
    "a turn that was counted",
    async () =>
      (await page.locator(".figure", { hasText: "turns now" }).textContent())?.includes("1 so far") ?? false,
  );
  await until(page, "a strip that runs", async () => (await picture(strip)) !== idle);
  assert.equal(await page.locator(".batch li").count(), 4, "a cell for each of engine.rows");
  assert.match(
    (await page.locator(".card", { hasText: "History" }).first().textContent()) ?? "",
    /journal.*writable/s,
  );
  await page.locator("tr[data-archetype=vampire]", { hasText: "adapters" }).waitFor();
});

test("a version is promoted, used, and rolled back", async (t) => {
  const { page } = await visit(t, browser, gateway, { path: "/#/fleet" });
  const version = (name: string) =>
    page.locator(`tr[data-adapter='vampire.dialogue_style'][data-version=${name}]`);
  const state = async (name: string) => await version(name).getAttribute("data-state");
  await version("v2").waitFor();
  const [from, to] = (await state("v2")) === "promoted" ? ["v2", "v1"] : ["v1", "v2"];
  assert.deepEqual([await state(from), await state(to)], ["promoted", "available"]);
  await version(to).getByRole("button", { name: "Promote" }).click();
  await page.getByText(`vampire.dialogue_style ${to} is promoted.`).waitFor();
  await until(page, "the other version", async () => (await state(to)) === "promoted");
  await page.getByRole("link", { name: "Talk" }).click();
  const stage = await bringIn(page, "vampire");
  const line = await tell(stage, "Who are you?");
  await isDone(line);
  const used = line.locator(".used li[data-task=dialogue_style]");
  assert.match((await used.textContent()) ?? "", new RegExp(` ${to} `));
  await page.getByRole("link", { name: "Fleet" }).click();
  await version(to).getByRole("button", { name: "Roll back" }).click();
  await until(page, "the version before", async () => (await state(from)) === "promoted");
});

test("adapters are asked for, and how far they are is told", async (t) => {
  const { page } = await visit(t, browser, gateway, { path: "/#/fleet" });
  await page.getByLabel("Archetype").selectOption("ghoul");
  await page.getByRole("button", { name: "Train adapters" }).click();
  const item = page.locator(".provisioning li[data-archetype=ghoul]");
  await item.and(page.locator("[data-state=training]")).waitFor();
  await item.getByText("12 of 80").waitFor();
  const bar = item.getByRole("progressbar", { name: "ghoul dialogue style" });
  assert.equal(await bar.getAttribute("value"), "12");
});
