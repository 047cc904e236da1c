// What the page costs: how soon it can be used, and how much of each frame it takes. Printed; no bound depends on time.

import assert from "node:assert/strict";
import test from "node:test";
import type { Page } from "playwright-core";
import { launch } from "../../typescript/test/support/browser.js";
import { Gateway, scripted } from "../../typescript/test/support/gateway.js";
import type {} from "../src/ui/loop.js";
import { bringIn, tell, visit } from "./support/visit.js";

const [browser, gateway] = await Promise.all([launch(), Gateway.start(...scripted(30))]);
test.after(async () => {
  await browser.close();
  await gateway.stop();
});

/** How long before its first callback the task of a frame may have begun, in microseconds. */
const BEFORE_US = 3000;
const LINES = ["Who are you?", "What lies below?", "Do you hear that?"];

test("from opening until somebody can be chosen", async (t) => {
  const times: number[] = [];
  for (let visits = 0; visits < 5; visits += 1) {
    const { page } = await visit(t, browser, gateway);
    await page.locator(".tile").first().waitFor();
    times.push(
      await page.evaluate(() => performance.getEntriesByName("usable").at(-1)?.startTime ?? Number.NaN),
    );
  }
  times.sort((a, b) => a - b);
  console.log(`usable ${times.map((ms) => ms.toFixed(0)).join(", ")} ms after opening`);
  assert.ok(times.every(Number.isFinite));
});

interface TraceEvent {
  name: string;
  ph: string;
  pid: number;
  tid: number;
  ts: number;
  /** What the thread computed in it, in microseconds: not how long it waited for a busy machine. */
  tdur?: number;
  args?: { name?: string };
}

/** What the page's main thread computed in each frame, in milliseconds, as the browser's own trace has it. */
function frameCosts(trace: Buffer): number[] {
  const { traceEvents } = JSON.parse(String(trace)) as { traceEvents: TraceEvent[] };
  const mains = new Set(
    traceEvents
      .filter(({ ph, name, args }) => ph === "M" && name === "thread_name" && args?.name === "CrRendererMain")
      .map(({ pid, tid }) => `${pid}:${tid}`),
  );
  const own = traceEvents.filter(({ pid, tid }) => mains.has(`${pid}:${tid}`));
  const begins = own.filter(({ name }) => name === "FireAnimationFrame").map(({ ts }) => ts);
  const edges = [...new Set(begins)].sort((a, b) => a - b);
  const costs = edges.map(() => 0);
  let frame = -1;
  for (const { name, ts, tdur } of own.filter(({ ph }) => ph === "X").sort((a, b) => a.ts - b.ts)) {
    if (name !== "ThreadControllerImpl::RunTask" || tdur === undefined) continue;
    // The task in which a frame is drawn begins a little before its first callback.
    while ((edges[frame + 1] ?? Number.POSITIVE_INFINITY) <= ts + BEFORE_US) frame += 1;
    if (frame >= 0) costs[frame] = (costs[frame] ?? 0) + tdur / 1000;
  }
  return costs.slice(0, -1);
}

function framesOf(page: Page): Promise<number> {
  return page.evaluate(() => window.__console?.frames().count ?? 0);
}

test("main-thread work in a frame, with three characters that talk at once", async (t) => {
  const { page } = await visit(t, browser, gateway);
  const stages = [await bringIn(page, "vampire"), await bringIn(page, "werewolf"), await bringIn(page, "lich")];
  for (const [index, stage] of stages.entries()) await tell(stage, LINES[index] ?? "");
  const before = await framesOf(page);
  await browser.startTracing(page, { categories: ["toplevel", "devtools.timeline"] });
  await page.waitForTimeout(4000);
  const all = frameCosts(await browser.stopTracing());
  const drawn = await page.evaluate((from) => {
    const { count, last } = window.__console?.frames() ?? { count: 0, last: [] };
    return last.slice(-Math.min(last.length, count - from));
  }, before);
  for (const [what, costs] of [
    ["the page's main thread", all],
    ["of it, the page's own drawing", drawn],
  ] as const) {
    const sorted = [...costs].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    const mean = sorted.reduce((sum, cost) => sum + cost, 0) / sorted.length;
    console.log(
      `${what}, ms in a frame (${sorted.length} frames): mean ${mean.toFixed(2)}, median ${at(0.5).toFixed(2)}, ` +
        `95 % ${at(0.95).toFixed(2)}, 99 % ${at(0.99).toFixed(2)}, most ${at(1).toFixed(2)}`,
    );
    assert.ok(sorted.length > 0, what);
  }
});

test("nothing is drawn while nothing moves", async (t) => {
  const { page } = await visit(t, browser, gateway);
  const stage = await bringIn(page, "zombie");
  await stage.locator(".head canvas").waitFor();
  const count = () => page.evaluate(() => window.__console?.frames().count ?? 0);
  let before = -1;
  for (let now = await count(); now !== before; now = await count()) {
    before = now;
    await page.waitForTimeout(1500);
  }
  // It came to rest, or this would never have ended.
  assert.ok(before > 0);
});
