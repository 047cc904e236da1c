// Runs the compiled tests with node's own runner. Words behind the command choose files by a part of their name.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../build/test/console/test/", import.meta.url));
const words = process.argv.slice(2);
const files = readdirSync(folder)
  .filter(
    (name) => name.endsWith(".test.js") && (words.length === 0 || words.some((word) => name.includes(word))),
  )
  .map((name) => folder + name);
if (files.length === 0) {
  console.error(`no test file has ${words.join(" or ")} in its name`);
  process.exit(2);
}
// One after another: each has a browser and a gateway of its own.
const { status } = spawnSync(
  process.execPath,
  ["--test", "--test-reporter=spec", "--test-concurrency=1", ...files],
  { stdio: "inherit" },
);
process.exit(status ?? 1);
