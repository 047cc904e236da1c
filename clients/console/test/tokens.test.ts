// A gateway that wants signed tokens: one is pasted, and lives in the tab's memory alone.

import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { launch } from "../../typescript/test/support/browser.js";
import { Gateway, scripted } from "../../typescript/test/support/gateway.js";
import { bringIn, isDone, tell, visit } from "./support/visit.js";

const keys = mkdtempSync(join(tmpdir(), "npc-gateway-keys-"));
const secret = randomBytes(32);
writeFileSync(join(keys, "hs.secret"), secret);
const [browser, gateway] = await Promise.all([
  launch(),
  Gateway.start(...scripted(0), "auth.mode=jwt", `auth.keys=${keys}`),
]);
test.after(async () => {
  await browser.close();
  await gateway.stop();
  rmSync(keys, { recursive: true, force: true });
});

function jwt(player: string, scope: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + 600;
  const signed = `${part({ alg: "HS256", kid: "hs" })}.${part({ sub: player, exp, scope })}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}

test("a token is asked for, works for the socket and for what operators ask, and is stored nowhere", async (t) => {
  const { page, context } = await visit(t, browser, gateway);
  await page.getByText("This gateway wants a signed token.").waitFor();
  const token = jwt("mina", "director admin");
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Come in" }).click();
  const stage = await bringIn(page, "vampire", "countess");
  await isDone(await tell(stage, "Good evening."));
  await page.getByRole("tab", { name: "Memory" }).click();
  await page.locator(".memory", { hasText: "Good evening." }).waitFor();
  await page.getByRole("link", { name: "Fleet" }).click();
  await page.locator("tr[data-session]", { hasText: "mina" }).waitFor();
  const left = await page.evaluate(async () => {
    const databases = await indexedDB.databases();
    const caches = await window.caches.keys();
    const fields = [...document.querySelectorAll("input, textarea")].map(
      (field) => (field as HTMLInputElement).value,
    );
    const page = document.documentElement.outerHTML + fields.join() + location.href;
    return {
      local: { ...localStorage },
      session: { ...sessionStorage },
      databases,
      caches,
      cookie: document.cookie,
      page,
    };
  });
  const { page: shown, ...stored } = left;
  assert.deepEqual(stored, { local: {}, session: {}, databases: [], caches: [], cookie: "" });
  assert.ok(!shown.includes(token), "the token is not on the page");
  assert.deepEqual(await context.cookies(), []);
  await page.reload();
  await page.getByText("This gateway wants a signed token.").waitFor();
});

test("without the scope admin the page says what it cannot show, and asks for none of it", async (t) => {
  const { page } = await visit(t, browser, gateway);
  const asked: string[] = [];
  page.on("request", (request) => asked.push(request.url()));
  await page.getByLabel("Token").fill(jwt("lucy", "director"));
  await page.getByRole("button", { name: "Come in" }).click();
  const stage = await bringIn(page, "ghoul");
  await isDone(await tell(stage, "Are you there?"));
  await page.getByRole("tab", { name: "Memory" }).click();
  await page.getByText("does not have the scope admin, which the history needs").waitFor();
  await page.getByRole("link", { name: "Fleet" }).click();
  await page.getByText("does not have the scope admin, which this page needs").waitFor();
  assert.deepEqual(
    asked.filter((url) => url.includes("/api/")),
    [],
  );
});

test("a token that is none is refused in words", async (t) => {
  const { page } = await visit(t, browser, gateway);
  await page.getByLabel("Token").fill("not.a.token");
  await page.getByRole("button", { name: "Come in" }).click();
  await page.getByText("The gateway does not take this token.").waitFor();
});
