// Who draws: a worker, or the page where there is none; and pictures that fail.

import assert from "node:assert/strict";
import test from "node:test";
import type { Page } from "playwright-core";
import { launch } from "../../typescript/test/support/browser.js";
import { Gateway, scripted } from "../../typescript/test/support/gateway.js";
import { bringIn, picture, tell, until, visit } from "./support/visit.js";

const [browser, gateway] = await Promise.all([launch(), Gateway.start(...scripted(0))]);
test.after(async () => {
  await browser.close();
  await gateway.stop();
});

const NO_CANVAS = "delete HTMLCanvasElement.prototype.transferControlToOffscreen;";

/** Answers for the gateway when the page asks for its worker. */
async function answerWorker(page: Page, write: (script: string) => string): Promise<void> {
  await page.route("**/worker.js", async (route) => {
    const script = await (await route.fetch()).text();
    await route.fulfill({ contentType: "text/javascript", body: write(script) });
  });
}

/** Brings in a vampire, tells it something, and waits until its face and its timeline show it. */
async function watch(page: Page): Promise<void> {
  const stage = await bringIn(page, "vampire");
  const face = stage.locator(".head canvas");
  const timeline = stage.locator(".timeline canvas");
  await until(page, "a face", async () => (await picture(face)).length > 10_000);
  const before = [await picture(face), await picture(timeline)];
  await tell(stage, "Good evening.");
  await until(page, "a face that changes", async () => (await picture(face)) !== before[0]);
  await until(page, "a timeline that fills", async () => (await picture(timeline)) !== before[1]);
}

/** What the browser said is this, each once and in whatever order, and nothing else. */
async function expect(page: Page, complaints: string[], wanted: readonly RegExp[]): Promise<void> {
  await until(page, `${wanted.length} complaints`, async () => complaints.length >= wanted.length);
  const said = complaints.splice(0);
  assert.equal(said.length, wanted.length, said.join("\n"));
  for (const one of wanted) assert.equal(said.filter((text) => one.test(text)).length, 1, said.join("\n"));
}

test("a worker draws", async (t) => {
  const { page } = await visit(t, browser, gateway);
  await watch(page);
  assert.equal(page.workers().length, 1);
});

test("where a canvas cannot be given away, the page draws", async (t) => {
  const { page } = await visit(t, browser, gateway);
  await page.addInitScript(NO_CANVAS);
  await page.reload();
  await watch(page);
  assert.equal(page.workers().length, 0);
});

const REFUSALS: readonly {
  what: string;
  prepare(page: Page): Promise<unknown>;
  said: readonly RegExp[];
}[] = [
  {
    what: "cannot be loaded",
    prepare: (page) => page.route("**/worker.js", (route) => route.fulfill({ status: 404 })),
    said: [/the worker that draws cannot be loaded/],
  },
  {
    what: "may not be made",
    prepare: (page) =>
      page.addInitScript(
        'window.Worker = class { constructor() { throw new DOMException("none here", "SecurityError"); } };',
      ),
    said: [/none here/],
  },
  {
    what: "fails at once",
    prepare: (page) => answerWorker(page, () => 'throw new Error("no pencil");'),
    said: [/the worker that draws: .*no pencil/],
  },
  {
    what: "cannot draw",
    prepare: (page) => answerWorker(page, () => "postMessage(false);"),
    said: [],
  },
  {
    what: "says nothing",
    prepare: (page) => answerWorker(page, () => ""),
    said: [],
  },
];

for (const { what, prepare, said } of REFUSALS) {
  test(`a worker that ${what}: the page draws, and the worker is ended`, async (t) => {
    const { page, complaints } = await visit(t, browser, gateway);
    await prepare(page);
    await page.reload();
    await watch(page);
    await until(page, "no worker", async () => page.workers().length === 0);
    await expect(page, complaints, said);
  });
}

/** The first picture has nothing to be drawn on, and nobody can draw the number of an action unit. */
const FAULTS = `{
  const pictures = (globalThis.HTMLCanvasElement ?? OffscreenCanvas).prototype;
  const { getContext } = pictures;
  let isFirst = true;
  pictures.getContext = function (...words) {
    if (!isFirst || this.closest?.(".tile") === null) return getContext.apply(this, words);
    isFirst = false;
    return null;
  };
  const letters = OffscreenCanvasRenderingContext2D.prototype;
  const { fillText } = letters;
  letters.fillText = function (text, ...place) {
    if (/^\\d+$/.test(text)) throw new Error("no numbers");
    fillText.call(this, text, ...place);
  };
}`;

for (const [where, prepare] of [
  ["in the worker", (page: Page) => answerWorker(page, (script) => FAULTS + script)],
  ["on the page", (page: Page) => page.addInitScript(NO_CANVAS + FAULTS)],
] as const) {
  test(`${where}: a picture that fails is told once, and takes no other with it`, async (t) => {
    const { page, complaints } = await visit(t, browser, gateway);
    await prepare(page);
    await page.reload();
    const tiles = page.locator(".tile canvas");
    await tiles.first().waitFor();
    for (const tile of (await tiles.all()).slice(1)) {
      await until(page, "a face to choose", async () => (await picture(tile)).length > 5000);
    }
    assert.ok((await picture(tiles.first())).length < 5000);
    await watch(page);
    await expect(page, complaints, [/draws nothing on a canvas/, /no numbers/]);
    assert.equal(page.workers().length, where === "in the worker" ? 1 : 0);
  });
}

test("the light behind a face has a color before anything is felt", async (t) => {
  const { page } = await visit(t, browser, gateway);
  const stage = await bringIn(page, "vampire");
  const [light, neutral] = await stage
    .locator(".glow")
    .first()
    .evaluate((element) => [
      element.style.getPropertyValue("--light"),
      getComputedStyle(document.documentElement).getPropertyValue("--neutral").trim(),
    ]);
  assert.match(neutral ?? "", /./);
  assert.equal(light, neutral);
});
