// What is published: the files that belong to it and no other, and that it can be used without the rest.

import assert from "node:assert/strict";
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { NODE, PACKAGE, run } from "./support/run.js";

/** A package that uses the client, as a game would. */
const game = join(PACKAGE, "build", "game");
/** The npm that runs the tests. */
const npm = process.env["npm_execpath"] ? [process.execPath, process.env["npm_execpath"]] : ["npm"];

const GAME = `
import { ClosedError, connect, type DialogueDelta, type Npc, type Session, type TurnDone } from "npc-gateway-client";

export async function talk(show: (delta: DialogueDelta) => void): Promise<TurnDone> {
  const session: Session = await connect({ url: "ws://127.0.0.1:7777", token: async () => "mina" });
  session.on("emotion", ({ label, intensity }) => console.log(label, intensity.toFixed(1)));
  session.on("state", (change) => {
    if (change.state === "closed" && change.error instanceof ClosedError) console.log(change.error.code);
  });
  const npc: Npc = await session.join({ npc: "bram", archetype: "vampire" });
  const turn = npc.say("Good evening", { generation: { greedy: true } });
  for await (const delta of turn) show(delta);
  // @ts-expect-error: the types are there, or this would be no error.
  npc.say(7);
  return await turn.done;
}
`;

test.before(async () => {
  rmSync(game, { recursive: true, force: true });
  mkdirSync(join(game, "node_modules", "npc-gateway-client"), { recursive: true });
});

test("the package has what belongs to it, and nothing else", async () => {
  const packed = await run([...npm, "pack", "--json", "--ignore-scripts", "--pack-destination", game], PACKAGE);
  assert.equal(packed.code, 0, packed.complaint);
  const [{ filename, files }] = JSON.parse(packed.out) as [{ filename: string; files: { path: string }[] }];
  const modules = readdirSync(join(PACKAGE, "src")).map((name) => `dist/${name.replace(/\.ts$/, "")}`);
  assert.ok(modules.length > 10);
  const wanted = [
    "LICENSE",
    "README.md",
    "package.json",
    ...modules.flatMap((name) => [`${name}.d.ts`, `${name}.js`]),
  ];
  assert.deepEqual(files.map(({ path }) => path).sort(), wanted.sort());
  const into = join("node_modules", "npc-gateway-client");
  const unpacked = await run(["tar", "-xzf", filename, "-C", into, "--strip-components=1"], game);
  assert.equal(unpacked.code, 0, unpacked.complaint);
  symlinkSync(join(PACKAGE, "node_modules", "@msgpack"), join(game, "node_modules", "@msgpack"));
});

test("it is imported from what was packed", async () => {
  writeFileSync(join(game, "package.json"), JSON.stringify({ type: "module" }));
  writeFileSync(
    join(game, "index.js"),
    `import * as client from "npc-gateway-client";
    console.log(import.meta.resolve("npc-gateway-client"));
    console.log(Object.keys(client).sort().join(" "));`,
  );
  const { code, out, complaint } = await run([...NODE, "index.js"], game);
  assert.equal(code, 0, complaint);
  const [from, names] = out.trim().split("\n");
  assert.match(from ?? "", /\/build\/game\/node_modules\/npc-gateway-client\/dist\/index\.js$/);
  assert.equal(
    names,
    "CLOSE_CODES ClosedError ConnectError NpcGatewayError PROTOCOL ProtocolError RequestError SessionClosedError " +
      "TURN_OPS TurnLostError UsageError closeRule codec connect scalars",
  );
});

for (const [module, moduleResolution] of [
  ["nodenext", "nodenext"],
  ["esnext", "bundler"],
] as const) {
  test(`its types are found and are whole: ${moduleResolution}`, async () => {
    writeFileSync(join(game, "game.ts"), GAME);
    const tsc = join(PACKAGE, "node_modules", "typescript", "bin", "tsc");
    const compilerOptions = {
      ...{ strict: true, exactOptionalPropertyTypes: true, noEmit: true, types: [] },
      ...{ lib: ["es2022", "dom"], target: "es2022", module, moduleResolution },
    };
    writeFileSync(join(game, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["game.ts"] }));
    const { code, out } = await run([process.execPath, tsc, "-p", "."], game);
    assert.equal(code, 0, out);
  });
}
