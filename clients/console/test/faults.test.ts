// Faults that keep people out, looked for by axe in light and dark; keys; less motion.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import test from "node:test";
import type { Page } from "playwright-core";
import { launch } from "../../typescript/test/support/browser.js";
import { Gateway, scripted } from "../../typescript/test/support/gateway.js";
import { bringIn, isDone, picture, tell, until, visit } from "./support/visit.js";

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const [browser, gateway] = await Promise.all([launch(), Gateway.start(...scripted(0))]);
test.after(async () => {
  await browser.close();
  await gateway.stop();
});

interface Violation {
  id: string;
  impact: string | null;
  nodes: { html: string; failureSummary?: string }[];
}

/** What axe finds on the page as it is; nothing of it may be serious or critical. */
async function judge(page: Page, what: string): Promise<void> {
  // Not as a script of the page, whose policy would refuse it.
  await page.evaluate(`(() => { ${AXE} })()`);
  const violations = (await page.evaluate("axe.run().then((found) => found.violations)")) as Violation[];
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const told = grave.map(
    ({ id, nodes }) =>
      `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join("; ")}`,
  );
  assert.deepEqual(told, [], what);
}

const AXE = await (await import("node:fs/promises")).readFile(axe, "utf8");

for (const theme of ["dark", "light"] as const) {
  test(`${theme}: nothing serious on any page`, async (t) => {
    const { page } = await visit(t, browser, gateway, { theme });
    await page.locator(".tile").first().waitFor();
    await judge(page, "the faces to choose from");
    const stage = await bringIn(page, "vampire");
    await isDone(await tell(stage, "Good evening."));
    await isDone(await tell(stage, "Will you bow?"));
    for (const tab of ["Mix", "Scene", "Who", "Bond", "Memory"]) {
      await page.getByRole("tab", { name: tab }).click();
      if (tab === "Memory") await page.locator(".memory").first().waitFor();
      await judge(page, tab);
    }
    await page.getByRole("button", { name: "Frames" }).click();
    await page.locator(".rows > li").first().getByRole("button").click();
    await judge(page, "frames");
    await page.getByRole("button", { name: "Keys" }).click();
    await judge(page, "the keys");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Another one" }).click();
    await judge(page, "the faces in a dialog");
    await page.keyboard.press("Escape");
    await page.getByRole("link", { name: "Fleet" }).click();
    await page.locator("tr[data-session]").first().waitFor();
    await judge(page, "fleet");
    await page.getByRole("link", { name: "Talk" }).click();
    await page.locator(".network").getByRole("button", { name: "Leave" }).click();
    await page.getByRole("button", { name: "Come in" }).waitFor();
    await judge(page, "the door");
  });
}

test("all of it can be done with keys", async (t) => {
  const { page } = await visit(t, browser, gateway);
  await page.locator(".tile").first().waitFor();
  await page.keyboard.press("n");
  await page.locator("dialog[open]").waitFor();
  await page.keyboard.press("Enter");
  const stage = page.locator(".stage");
  await stage.waitFor();
  // The line is written at once, sent with Enter, cut off with Escape.
  await page.keyboard.type("Who goes there?");
  await page.keyboard.press("Enter");
  await stage.locator(".exchange[data-state=done]").waitFor();
  await page.keyboard.press("ArrowUp");
  assert.equal(await stage.getByRole("textbox").inputValue(), "Who goes there?");
  await stage.getByRole("slider", { name: "Timeline" }).focus();
  for (const [key, tab] of [
    ["s", "Scene"],
    ["w", "Who"],
    ["o", "Bond"],
    ["m", "Memory"],
    ["x", "Mix"],
  ] as const) {
    await page.keyboard.press(key);
    assert.equal(await page.getByRole("tab", { name: tab }).getAttribute("aria-selected"), "true", key);
  }
  await page.keyboard.press("f");
  assert.ok(await page.getByRole("region", { name: "Frames", exact: true }).isVisible());
  await page.keyboard.press("d");
  await page.getByText("network away").waitFor();
  await page.keyboard.press("r");
  await page.getByText("resumed as designer").waitFor();
  await page.keyboard.press("g");
  await page.locator(".figures").waitFor();
  // Where somebody writes, keys are letters.
  await page.getByRole("searchbox", { name: /Show adapters/ }).fill("");
  await page.getByRole("searchbox", { name: /Show adapters/ }).pressSequentially("gt");
  assert.ok(await page.locator(".figures").isVisible());
});

test("light and dark: as the system has it, until somebody chooses", async (t) => {
  const { page } = await visit(t, browser, gateway, { theme: "light" });
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await background();
  assert.notEqual(light, dark);
  await page.getByRole("button", { name: "Light or dark" }).click();
  assert.equal(await background(), light);
  await page.emulateMedia({ colorScheme: "light" });
  await page.getByRole("button", { name: "Light or dark" }).click();
  assert.equal(await background(), dark);
});

test("with less motion the face still shows what is felt, in steps", async (t) => {
  const { page } = await visit(t, browser, gateway, { stillness: true });
  const stage = await bringIn(page, "werewolf");
  const face = stage.locator(".head canvas");
  await until(page, "a face", async () => (await picture(face)).length > 10_000);
  const atRest = await picture(face);
  await tell(stage, "Growl for me.");
  await until(page, "a face that changes", async () => (await picture(face)) !== atRest);
  await until(page, "a face at rest", async () => (await picture(face)) === atRest);
});
