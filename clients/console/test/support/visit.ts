// A page of the console in a browser, which must have nothing to complain of.

import assert from "node:assert/strict";
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import type { Gateway } from "../../../typescript/test/support/gateway.js";
import { HANG_MS } from "../../../typescript/test/support/within.js";

export interface Visit {
  page: Page;
  context: BrowserContext;
  /** What the browser said; whatever is left in it fails the test. */
  complaints: string[];
}

export interface Wishes {
  theme?: "light" | "dark";
  path?: string;
  size?: { width: number; height: number };
  stillness?: boolean;
}

/** Opens the page that the gateway serves. Whatever the browser complains of fails the test. */
export async function visit(
  t: { after(end: () => Promise<void>): void },
  browser: Browser,
  gateway: Gateway,
  { theme = "dark", path = "/", size = { width: 1440, height: 900 }, stillness = false }: Wishes = {},
): Promise<Visit> {
  const context = await browser.newContext({
    viewport: size,
    colorScheme: theme,
    reducedMotion: stillness ? "reduce" : "no-preference",
  });
  context.setDefaultTimeout(HANG_MS);
  const complaints: string[] = [];
  t.after(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });
  const page = await context.newPage();
  page.on("pageerror", (fault) => complaints.push(String(fault)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  await page.goto(new URL(path, gateway.url.replace(/^ws/, "http")).href);
  return { page, context, complaints };
}

/** Brings in an NPC of this archetype, with an id if it is to be somebody in particular; its stage. */
export async function bringIn(page: Page, archetype: string, id?: string): Promise<Locator> {
  const another = page.getByRole("button", { name: "Another one" });
  if (await another.isVisible()) await another.click();
  const gallery = page.locator(".gallery:visible");
  await gallery.waitFor();
  if (id !== undefined) {
    await gallery.locator("summary").click();
    await gallery.getByLabel("Id").fill(id);
  }
  const before = await page.locator(".stage").count();
  await gallery.locator(`[data-archetype="${archetype}"]`).click();
  const stage = page.locator(".stage").nth(before);
  await stage.waitFor();
  return stage;
}

/** Says a line; its place in the transcript. */
export async function tell(stage: Locator, text: string): Promise<Locator> {
  const lines = stage.locator(".lines:not(.waiting) > li");
  const before = await lines.count();
  await stage.getByRole("textbox").fill(text);
  await stage.getByRole("button", { name: "Say", exact: true }).click();
  const line = lines.nth(before);
  await line.waitFor();
  return line;
}

/** The answer as it is on the page. */
export async function answer(line: Locator): Promise<string> {
  return (await line.locator(".spoken, .ahead").allTextContents()).join("");
}

/** The line is over at the gateway. */
export async function isDone(line: Locator): Promise<void> {
  await line.and(line.page().locator("[data-state=done]")).waitFor();
}

/** What is drawn, as a text that is the same for the same picture. */
export async function picture(canvas: Locator): Promise<string> {
  return await canvas.evaluate((element) => (element as HTMLCanvasElement).toDataURL());
}

/** Waits until something on the page is so. */
export async function until(page: Page, what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + HANG_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`hangs: ${what}`);
    await page.waitForTimeout(50);
  }
}
