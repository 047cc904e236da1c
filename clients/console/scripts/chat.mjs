// Takes the README's picture of `chat` from a gateway that runs: npm run picture-of-chat -- PROGRAM [http://127.0.0.1:7777]
// PROGRAM is npc-gateway; it runs in a terminal of its own (`script`, of util-linux), as its users see it.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { launch } from "../build/test/typescript/test/support/browser.js";

const [program, url = "http://127.0.0.1:7777"] = process.argv.slice(2);
if (!program) {
  console.error("which program? npm run picture-of-chat -- PROGRAM [URL]");
  process.exit(2);
}
const folder = fileURLToPath(new URL("../../../docs/pictures/", import.meta.url));
const NPC = `carmilla-${process.pid}`;
const LINES = ["Good evening. Who are you?", "What do you want from me?", "Then let me go, please."];

const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
/** What a terminal makes of the output: dim text is all that `chat` asks for. */
const shown = (text) =>
  escaped(text.replaceAll("\r", ""))
    .replaceAll("\u001b[2m", "<i>")
    .replaceAll("\u001b[0m", "</i>")
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for.
    .replace(/\u001b\[[0-9;]*m/g, "");

let body = "";
for (const line of LINES) {
  const words = ["chat", url, "--archetype", "vampire", "--npc", NPC, "--say", line];
  const command = [program, ...words].map(quoted).join(" ");
  const output = execFileSync("script", ["-qec", command, "/dev/null"], { encoding: "utf8" });
  const typed = `npc-gateway chat --archetype vampire --npc carmilla --say "${line}"`;
  body += `<b>$ ${escaped(typed)}</b>\n${shown(output.replaceAll(NPC, "carmilla"))}\n`;
}

const style = `
  body { margin: 0; background: #16181d; }
  pre { margin: 0; padding: 22px 26px; width: max-content; max-width: 860px; white-space: pre-wrap;
        font: 15px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; color: #e8e6e3; }
  b { font-weight: normal; color: #67d8bb; } i { font-style: normal; color: #8d929c; }`;
const browser = await launch();
const page = await browser.newPage({ viewport: { width: 920, height: 600 } });
await page.setContent(`<style>${style}</style><pre>${body.trimEnd()}</pre>`);
mkdirSync(folder, { recursive: true });
const shot = await page.locator("pre").screenshot();
writeFileSync(`${folder}chat.png`, shot);
console.log(`docs/pictures/chat.png: ${shot.length} bytes`);
await browser.close();
