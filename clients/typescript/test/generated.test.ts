import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

const root = new URL("../../", import.meta.url);

test("src/generated.ts is what the schemas give", async () => {
  const { generate } = await import(new URL("scripts/generate.mjs", root).href);
  const wanted = await generate();
  const found = readFileSync(new URL("src/generated.ts", root), "utf8");
  assert.equal(found, wanted, "run `npm run generate`");
});
