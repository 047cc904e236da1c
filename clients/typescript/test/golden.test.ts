import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { codec } from "npc-gateway-client";
import { checkShape } from "#dist/shape";

const golden = new URL("../../../../schemas/golden/", import.meta.url);
const [json, msgpack] = [codec("json"), codec("msgpack")];

function names(side: string): string[] {
  const files = readdirSync(new URL(`${side}/`, golden)).filter((name) => name.endsWith(".json"));
  assert.ok(files.length > 10, `few golden frames: ${files.length}`);
  return files.map((name) => name.slice(0, -".json".length)).sort();
}

const bytes = (side: string, name: string) => new Uint8Array(readFileSync(new URL(`${side}/${name}`, golden)));
const text = (side: string, name: string) => readFileSync(new URL(`${side}/${name}`, golden), "utf8");

/** The same with floats as exact as 32 bits hold them: what the gateway writes weights and probabilities with. */
function rounded(value: unknown): unknown {
  if (typeof value === "number" && !Number.isInteger(value)) return Math.fround(value);
  if (value instanceof Uint8Array) return [...value];
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, rounded(item)]));
}

/** Whether it holds a float somewhere, which may be written in more ways than one. */
const hasFloat = (text: string) => /[:[,]-?\d+\.\d/.test(text);

for (const name of names("server")) {
  test(`server ${name} reads the same in both encodings`, () => {
    const fromJson = json.decode(text("server", `${name}.json`));
    const fromBytes = msgpack.decode(bytes("server", `${name}.msgpack`));
    assert.equal(fromJson.op, name.split("~")[0]);
    assert.deepEqual(rounded(fromBytes), rounded(fromJson));
    // `~max` has numbers that no session reaches; all others are what the client takes.
    if (!name.endsWith("~max")) checkShape(fromBytes);
    if (!name.endsWith("~max")) checkShape(fromJson);
  });
}

let canonical = 0;
for (const name of names("client")) {
  test(`client ${name} is written with the same meaning, and the same bytes where there is one way`, () => {
    const [wantText, wantBytes] = [text("client", `${name}.json`), bytes("client", `${name}.msgpack`)];
    // A golden frame as a value, to be written by this client.
    const frame = json.decode(wantText) as unknown as Parameters<typeof json.encode>[0];
    const [gotText, gotBytes] = [json.encode(frame), msgpack.encode(frame)];
    assert.deepEqual(rounded(json.decode(gotText)), rounded(json.decode(wantText)));
    assert.deepEqual(rounded(msgpack.decode(gotBytes)), rounded(msgpack.decode(wantBytes)));
    // These two have their keys in an order that is nobody's.
    if (hasFloat(wantText) || name === "say~unknown_keys" || name === "say~integers") return;
    canonical += 1;
    const golden = JSON.parse(wantText);
    const sorted = { op: golden.op, ...("cid" in golden ? { cid: frame.cid } : {}), d: frame.d };
    assert.equal(json.encode(sorted as typeof frame), wantText);
    assert.deepEqual(msgpack.encode(sorted as typeof frame), wantBytes);
  });
}
test("most client frames were compared byte for byte", () => assert.ok(canonical >= 15, String(canonical)));
