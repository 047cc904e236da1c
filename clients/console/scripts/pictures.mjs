// Takes the README's pictures from a gateway that runs: npm run pictures -- [http://127.0.0.1:7777]
// It talks to a few characters there; a gateway with a data folder of its own, in `dev` mode, is best.
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bringIn, isDone, tell } from "../build/test/console/test/support/visit.js";
import { launch } from "../build/test/typescript/test/support/browser.js";
import { png } from "./png.mjs";

const url = process.argv[2] ?? "http://127.0.0.1:7777";
const folder = fileURLToPath(new URL("../../../docs/pictures/", import.meta.url));
const WIDE = { width: 1440, height: 900 };
/** What a picture may weigh. */
const MOST_BYTES = 200_000;
const PATIENCE_MS = 600_000;
const SIZE = { width: 1320, height: 825 };

const browser = await launch();

/** A page of the console with its own player. */
async function open(colorScheme, path = "/", viewport = SIZE) {
  const context = await browser.newContext({ viewport, colorScheme });
  // A machine that is busy may take long for a line.
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  await page.goto(new URL(path, url).href);
  return page;
}

/** Plays the lines again, all at once, and waits until so much of the last one has been spoken. */
async function inTheMiddle(page, stages, share) {
  for (const stage of stages) await stage.getByRole("button", { name: "Replay" }).click();
  const timeline = stages.at(-1).getByRole("slider", { name: "Timeline" });
  let hasBegun = false;
  for (;;) {
    const [now, end] = await timeline.evaluate((slider) => [
      Number(slider.getAttribute("aria-valuenow")),
      Number(slider.getAttribute("aria-valuemax")),
    ]);
    hasBegun ||= now < 0.8 * share * end;
    if (hasBegun && now >= share * end) return;
    await page.waitForTimeout(20);
  }
}

/** The same picture in fewer bytes: soft shades become coarser, the colors that most of it is made of stay. */
async function packed(shot) {
  const blank = await browser.newPage();
  const { data, width, height } = await blank.evaluate(async (base64) => {
    const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${base64}`)).blob());
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    const ctx = canvas.getContext("2d");
    ctx.drawImage(picture, 0, 0);
    const { data } = ctx.getImageData(0, 0, picture.width, picture.height);
    const pixels = new Uint32Array(data.buffer);
    const often = new Map();
    for (const pixel of pixels) often.set(pixel, (often.get(pixel) ?? 0) + 1);
    const plain = new Set(
      [...often]
        .sort((a, b) => b[1] - a[1])
        .slice(0, 48)
        .map(([pixel]) => pixel),
    );
    const bytes = data.map((value, at) =>
      plain.has(pixels[at >> 2]) ? value : Math.min(255, (value + 4) & 0xf8),
    );
    let text = "";
    for (let from = 0; from < bytes.length; from += 32768) {
      text += String.fromCharCode(...bytes.subarray(from, from + 32768));
    }
    return { data: btoa(text), width: picture.width, height: picture.height };
  }, shot.toString("base64"));
  await blank.close();
  return png(Buffer.from(data, "base64"), width, height);
}

async function take(page, name) {
  const path = `${folder}${name}.png`;
  const picture = await packed(await page.screenshot({ animations: "disabled" }));
  writeFileSync(path, picture);
  console.log(`${path}: ${picture.length} bytes`);
  if (picture.length > MOST_BYTES) {
    throw new Error(`${name}.png has ${picture.length} bytes; ${MOST_BYTES} are allowed`);
  }
}

/** The same answers whenever pictures are taken. */
async function greedily(page) {
  await page.getByRole("tab", { name: "Scene" }).click();
  await page.getByLabel("Always the likeliest word").check();
  await page.getByRole("tab", { name: "Mix" }).click();
}

async function conversation() {
  const page = await open("dark");
  const stage = await bringIn(page, "vampire", "carmilla");
  await greedily(page);
  await isDone(await tell(stage, "Good evening. Who are you?"));
  const line = await tell(stage, "You disgust me, you old corpse. I will burn your castle.");
  await isDone(line);
  await inTheMiddle(page, [stage], 0.25);
  await take(page, "console-dark");
  await page.context().close();
}

async function threeOfThem() {
  const page = await open("light", "/", WIDE);
  const lines = [
    ["werewolf", "garou", "Good dog. Now sit!"],
    ["vampire", "lucian", "I brought you a gift: a rose from your own garden."],
    ["lich", "szass", "I have burned your books, old bones."],
  ];
  const stages = [];
  for (const [archetype, id] of lines) {
    stages.push(await bringIn(page, archetype, id));
    await greedily(page);
  }
  const said = [];
  for (const [index, [, , text]] of lines.entries()) said.push(await tell(stages[index], text));
  await Promise.all(said.map(isDone));
  await page.getByRole("tab", { name: "Who" }).click();
  await inTheMiddle(page, stages, 0.4);
  await take(page, "console-light");
  await page.context().close();
}

/** Who keeps the server busy while it is looked at. */
async function talker(archetype, isOver) {
  const page = await open("dark");
  const stage = await bringIn(page, archetype);
  while (!isOver())
    await isDone(await tell(stage, "Tell me of this place, and of those who were here before me."));
  await page.context().close();
}

async function fleet() {
  let over = false;
  const kinds = ["vampire", "werewolf", "zombie", "ghoul", "lich"];
  const busy = kinds.map((kind) => talker(kind, () => over));
  const page = await open("dark", "/#/fleet");
  await page.locator("tr[data-adapter]").first().waitFor();
  await page.waitForTimeout(75_000);
  await take(page, "fleet");
  over = true;
  await Promise.all(busy);
}

mkdirSync(folder, { recursive: true });
try {
  await conversation();
  await threeOfThem();
  await fleet();
} finally {
  await browser.close();
}
