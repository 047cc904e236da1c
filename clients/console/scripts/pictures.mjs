// Takes the README's pictures from a gateway that runs: npm run pictures -- [http://127.0.0.1:7777]
// It talks to a few characters there; a gateway with a data folder of its own, in `dev` mode, is best.
import { mkdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { bringIn, isDone, tell } from "../build/test/console/test/support/visit.js";
import { launch } from "../build/test/typescript/test/support/browser.js";

const url = process.argv[2] ?? "http://127.0.0.1:7777";
const folder = fileURLToPath(new URL("../../../docs/pictures/", import.meta.url));
/** What a picture may weigh. */
const MOST_BYTES = 200_000;
const SIZE = { width: 1360, height: 850 };

const browser = await launch();

/** A page of the console with its own player. */
async function open(colorScheme, path = "/") {
  const context = await browser.newContext({ viewport: SIZE, colorScheme });
  const page = await context.newPage();
  await page.goto(new URL(path, url).href);
  return page;
}

/** Waits until the line is so far spoken that there is something to see of everything. */
async function inTheMiddle(page, stage, share) {
  const timeline = stage.getByRole("slider", { name: "Timeline" });
  for (;;) {
    const [now, end] = await timeline.evaluate((slider) => [
      Number(slider.getAttribute("aria-valuenow")),
      Number(slider.getAttribute("aria-valuemax")),
    ]);
    if (end > 0 && now >= share * end) return;
    await page.waitForTimeout(20);
  }
}

async function take(page, name) {
  const path = `${folder}${name}.png`;
  await page.screenshot({ path, animations: "disabled" });
  const { size } = statSync(path);
  console.log(`${path}: ${size} bytes`);
  if (size > MOST_BYTES) throw new Error(`${name}.png has ${size} bytes; ${MOST_BYTES} are allowed`);
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
  const line = await tell(stage, "You look like something that the rats have left behind.");
  await isDone(line);
  await inTheMiddle(page, stage, 0.6);
  await take(page, "console-dark");
  await page.context().close();
}

async function threeOfThem() {
  const page = await open("light");
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
  await inTheMiddle(page, stages[2], 0.5);
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
  const kinds = ["vampire", "werewolf", "zombie", "ghoul", "lich", "vampire", "ghoul"];
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
