// The build that is checked in is what its sources give, and small enough.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

const root = fileURLToPath(new URL("../../../../", import.meta.url));
const dist = join(root, "dist");
/** What the script may weigh, compressed. */
const MOST_BYTES = 350_000;

function files(folder: string): Map<string, Buffer> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    names
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((path) => [relative(folder, path), readFileSync(path)]),
  );
}

test("the build that is checked in is what the sources give, byte for byte", (t) => {
  const out = mkdtempSync(join(tmpdir(), "npc-gateway-console-"));
  t.after(() => rmSync(out, { recursive: true, force: true }));
  const vite = join(root, "node_modules", "vite", "bin", "vite.js");
  const built = spawnSync(
    process.execPath,
    [vite, "build", "--outDir", out, "--emptyOutDir", "--logLevel", "warn"],
    {
      cwd: root,
      encoding: "utf8",
    },
  );
  assert.equal(built.status, 0, built.stdout + built.stderr);
  const [fresh, kept] = [files(out), files(dist)];
  const advice = "run `npm run build` in clients/console and commit what it writes into dist";
  assert.deepEqual([...kept.keys()], [...fresh.keys()], advice);
  for (const [name, bytes] of fresh)
    assert.ok(kept.get(name)?.equals(bytes), `dist/${name} is another one: ${advice}`);
});

test("the script is small, and nothing is written into the page", () => {
  const all = files(dist);
  let scripts = 0;
  for (const [name, bytes] of all) {
    const [gzip, brotli] = [gzipSync(bytes, { level: 9 }).length, brotliCompressSync(bytes).length];
    console.log(`${name}: ${bytes.length} bytes, gzip ${gzip}, brotli ${brotli}`);
    if (name.endsWith(".js")) scripts += gzip;
  }
  assert.ok(scripts > 0 && scripts <= MOST_BYTES, `${scripts} bytes of script`);
  const page = String(all.get("index.html"));
  assert.doesNotMatch(page, /<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=/i);
  for (const [, path = ""] of page.matchAll(/(?:src|href)="\.\/([^"]+)"/g)) assert.ok(all.has(path), path);
});
