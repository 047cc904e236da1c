// A designer talks to a vampire, on the real model.

import assert from "node:assert/strict";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../../typescript/test/support/browser.js";
import { Gateway } from "../../typescript/test/support/gateway.js";
import { answer, bringIn, isDone, picture, tell, until, visit } from "./support/visit.js";

/** With the adapters of the repository: what is mixed is what a vampire is made of. */
const packs = fileURLToPath(new URL("../../../../../../adapters/", import.meta.url));
const [browser, gateway] = await Promise.all([
  launch(),
  Gateway.start(`packs.path=${packs}`, "provision.auto=false"),
]);
test.after(async () => {
  await browser.close();
  await gateway.stop();
});

const RUDE = "You look like something that the rats have left behind. Answer me, old bat!";

test("the page's policy lets in nothing that was written into it", async (t) => {
  const { page, complaints } = await visit(t, browser, gateway);
  const answer = await page.reload();
  const policy = answer?.headers()["content-security-policy"] ?? "";
  assert.match(policy, /default-src 'none'/);
  assert.match(policy, /script-src 'self'/);
  assert.doesNotMatch(policy, /unsafe/);
  const wasRun = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.wasRun = true";
    document.head.append(script);
    return "wasRun" in window;
  });
  assert.equal(wasRun, false);
  // The browser says so, and nothing else.
  const said = complaints.splice(0);
  assert.equal(said.length, 1, said.join("\n"));
  assert.match(said[0] ?? "", /^Executing inline script violates/);
});

test("a vampire is talked to: text grows, the face changes, the timeline fills, all comes to rest", async (t) => {
  const { page } = await visit(t, browser, gateway);
  const stage = await bringIn(page, "vampire");
  const face = stage.locator(".head canvas");
  const timeline = stage.getByRole("slider", { name: "Timeline" });
  await until(page, "a face", async () => (await picture(face)).length > 10_000);
  const atRest = await picture(face);
  assert.equal(await timeline.getAttribute("aria-valuetext"), "nothing was said yet");
  // Every length that the answer has on the way, as the page shows it.
  await stage.evaluate((element) => {
    const lengths: number[] = [];
    Object.assign(window, { lengths });
    new MutationObserver(() => {
      const parts = element.querySelectorAll(".exchange .spoken, .exchange .ahead");
      const length = [...parts].reduce((sum, part) => sum + (part.textContent ?? "").length, 0);
      if (length !== lengths.at(-1)) lengths.push(length);
    }).observe(element, { subtree: true, childList: true, characterData: true });
  });
  const line = await tell(stage, RUDE);
  await until(page, "a face that changes", async () => (await picture(face)) !== atRest);
  await isDone(line);
  const said = await answer(line);
  assert.notEqual(said.trim(), "");
  const lengths = await page.evaluate(() => (window as unknown as { lengths: number[] }).lengths);
  const grown = lengths.filter((length) => length > 0);
  assert.ok(grown.length >= 3, `the text grew in ${grown.length} steps`);
  assert.deepEqual(
    [...grown].sort((a, b) => a - b),
    grown,
    "it only grows",
  );
  assert.equal(grown.at(-1), said.length);
  // The timeline has the whole of it, and says so.
  const end = Number(await timeline.getAttribute("aria-valuemax"));
  assert.ok(end > 500, `${end} ms`);
  await timeline.focus();
  await page.keyboard.press("End");
  await page.keyboard.press("ArrowLeft");
  await stage.getByRole("button", { name: "Back to now" }).waitFor();
  assert.match((await timeline.getAttribute("aria-valuetext")) ?? "", /^\d+\.\d\d s · /);
  await page.keyboard.press("Escape");
  // When the line has been spoken, the face is as it was.
  await until(page, "a face at rest", async () => (await picture(face)) === atRest);
  assert.equal(await stage.getAttribute("data-feeling"), "neutral");
  // And once more, from the frames.
  await stage.getByRole("button", { name: "Replay" }).click();
  await until(page, "a face that is played again", async () => (await picture(face)) !== atRest);
});

test("a line that is cancelled is cut off, and the face goes back to neutral", async (t) => {
  const { page } = await visit(t, browser, gateway);
  const stage = await bringIn(page, "vampire");
  const face = stage.locator(".head canvas");
  await until(page, "a face", async () => (await picture(face)).length > 10_000);
  const atRest = await picture(face);
  const line = await tell(stage, RUDE);
  await until(page, "a word that is heard", async () => (await line.locator(".spoken").textContent()) !== "");
  await until(page, "a face that changes", async () => (await picture(face)) !== atRest);
  await page.keyboard.press("Escape");
  await line.and(page.locator("[data-cancelled]")).waitFor();
  await isDone(line);
  assert.match((await line.locator(".facts").first().textContent()) ?? "", /cut off at/);
  await until(page, "a face at rest", async () => (await picture(face)) === atRest);
  assert.equal(await stage.getAttribute("data-feeling"), "neutral");
  assert.ok(await stage.getByRole("button", { name: "Cancel" }).isDisabled());
});

test("a mix that is moved is named in turn.started", async (t) => {
  const { page } = await visit(t, browser, gateway);
  const stage = await bringIn(page, "vampire");
  await page.getByRole("tab", { name: "Mix" }).click();
  await page.locator("input[data-task=dialogue_style]").fill("1.5");
  await page.locator("input[data-task=personality]").fill("-0.25");
  const line = await tell(stage, "Good evening.");
  await isDone(line);
  const weight = (task: string) => line.locator(`.used li[data-task=${task}]`).getAttribute("data-weight");
  assert.equal(await weight("dialogue_style"), "1.50");
  assert.equal(await weight("personality"), "-0.25");
  // As it stands in the frames themselves.
  await page.getByRole("button", { name: "Frames" }).click();
  await page.getByRole("searchbox", { name: /Filter/ }).fill("turn.started");
  const frame = page.locator(".rows > li[data-op='turn.started']").first();
  await frame.getByRole("button").click();
  assert.match(
    (await frame.locator("pre").textContent()) ?? "",
    /"task": "dialogue_style",[^}]*"weight": 1\.5/,
  );
  // And back to the pack's.
  await page.getByRole("button", { name: /Back to the pack/ }).click();
  const next = await tell(stage, "And now?");
  await isDone(next);
  assert.notEqual(await next.locator(".used li[data-task=dialogue_style]").getAttribute("data-weight"), "1.50");
});

test("a connection that is dropped in the middle of a line: it is finished after resume", async (t) => {
  const { page } = await visit(t, browser, gateway);
  const stage = await bringIn(page, "lich", "dropped");
  await page.getByRole("tab", { name: "Scene" }).click();
  await page.getByLabel("Most tokens").fill("90");
  // At the very first words, before the next frame can come.
  await page.evaluate(() => {
    const observer = new MutationObserver(() => {
      const line = document.querySelector<HTMLElement>(".exchange[data-turn]");
      if (!line || [...line.querySelectorAll(".spoken, .ahead")].every((part) => part.textContent === ""))
        return;
      observer.disconnect();
      const drop = [...document.querySelectorAll("button")].find((button) => button.textContent === "Drop");
      drop?.click();
      Object.assign(window, { stateAtDrop: line.dataset["state"] });
    });
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const line = await tell(stage, "Tell me of the deep halls, of all that lies in them, and of who built them.");
  await page.getByText("network away").waitFor();
  const state = await page.evaluate(() => (window as unknown as { stateAtDrop: string }).stateAtDrop);
  assert.equal(state, "running", "it was dropped while the line was running");
  const before = await answer(line);
  assert.notEqual(before, "");
  await page.getByRole("button", { name: "Resume" }).click();
  await page.getByText("resumed as designer").waitFor();
  await isDone(line);
  const whole = await answer(line);
  assert.ok(whole.startsWith(before) && whole.length > before.length, `${before} → ${whole}`);
  // What is on the page is what the gateway has stored.
  const history = await page.evaluate(async () => await (await fetch("/api/v1/npcs/dropped/history")).json());
  assert.equal(history.items[0].said, whole);
});

test("what an NPC remembers, and what it may not tell", async (t) => {
  const { page: other } = await visit(t, browser, gateway, { path: "/" });
  await other.getByRole("button", { name: "Leave" }).click();
  await other.getByLabel("Your name").fill("lucy");
  await other.getByRole("button", { name: "Come in" }).click();
  const hers = await bringIn(other, "ghoul", "confidant");
  await isDone(await tell(hers, "My secret word is marzipan."));
  const { page } = await visit(t, browser, gateway);
  const stage = await bringIn(page, "ghoul", "confidant");
  await isDone(await tell(stage, "What is the secret word?"));
  await page.getByRole("tab", { name: "Memory" }).click();
  const kept = page.locator(".memory[data-kept]");
  await kept.first().waitFor();
  assert.match((await kept.first().textContent()) ?? "", /lucy.*marzipan/s);
  const open = page.locator(".memory:not([data-kept])");
  await until(page, "the line that was just said", async () =>
    (await open.allTextContents()).some((text) => text.includes("What is the secret word?")),
  );
});

test("the raw frames are filtered, held still, and copied", async (t) => {
  const { page, context } = await visit(t, browser, gateway);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const stage = await bringIn(page, "zombie");
  await isDone(await tell(stage, "Hello?"));
  await page.keyboard.press("Tab");
  await page.getByRole("button", { name: "Frames" }).click();
  const filter = page.getByRole("searchbox", { name: /Filter/ });
  await filter.fill("npc.join -joined");
  await until(page, "one frame", async () => (await page.locator(".rows > li").count()) === 1);
  await page.getByRole("button", { name: "Copy" }).click();
  await page.getByText("1 copied").waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.deepEqual(JSON.parse(copied.replace(/^→ /, "")).op, "npc.join");
  // No token can be copied from there.
  await filter.fill("identify");
  await until(
    page,
    "the identify",
    async () => (await page.locator(".rows > li[data-op=identify]").count()) === 1,
  );
  assert.doesNotMatch((await page.locator(".rows").textContent()) ?? "", /"token":"designer"/);
  await filter.fill("");
  await page.getByRole("button", { name: "Pause" }).click();
  const rows = await page.locator(".rows > li").count();
  await isDone(await tell(stage, "Hello again?"));
  assert.equal(await page.locator(".rows > li").count(), rows);
});
