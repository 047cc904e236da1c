// Makes src/generated.ts from the JSON Schemas of the protocol. `--check` says whether it is what they give.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compile } from "json-schema-to-typescript";

const schemas = new URL("../../../schemas/", import.meta.url);
const target = new URL("../src/generated.ts", import.meta.url);
/** Names of the schemas that mean something else in JavaScript. */
const RENAMED = { Error: "ErrorPayload", Event: "NpcEvent" };

const HEADER = `// Made by \`npm run generate\` from the project's schemas/; do not edit.
`;

function read(url) {
  return JSON.parse(readFileSync(url, "utf8"));
}

/** The frames of one side: op and schema. */
function frames(side) {
  const folder = new URL(`${side}/`, schemas);
  const suffix = ".schema.json";
  const files = readdirSync(folder).filter((name) => name.endsWith(suffix));
  return files.sort().map((name) => [name.slice(0, -suffix.length), read(new URL(name, folder))]);
}

/** What the schema language of this project cannot say of JavaScript, and what is of no use to a type. */
function adapt(node, key) {
  if (Array.isArray(node)) return node.map((item) => adapt(item));
  if (node === null || typeof node !== "object") return node;
  // What stands beside a reference would make a second type of it.
  if (node.$ref) return { $ref: node.$ref.replace(/[^/]+$/, (last) => RENAMED[last] ?? last) };
  const out = {};
  for (const [name, value] of Object.entries(node)) {
    // A name for each of the 52 items, or for each allowed key, helps nobody.
    if (["minItems", "maxItems", "propertyNames", "format", "maximum", "minimum", "pattern"].includes(name))
      continue;
    if (name === "properties" || name === "$defs") {
      const renamed = Object.entries(value).map(([item, schema]) => [
        name === "$defs" ? (RENAMED[item] ?? item) : item,
        adapt(schema, item),
      ]);
      out[name] = Object.fromEntries(renamed);
    } else {
      out[name] = adapt(value);
    }
  }
  // 64 bits do not all fit into a number.
  if (key === "seed") out.tsType = "number | bigint";
  if (key === "w" && node.type === "array") out.tsType = "Uint8Array";
  return out;
}

/** The name of a frame's payload among the definitions. */
function payload(schema) {
  const name = schema.properties.d.$ref.split("/").pop();
  return RENAMED[name] ?? name;
}

/** What kind of value each key of a payload has; "?" behind it if it may be absent. */
function shape(schema) {
  const resolve = (node) => (node.$ref ? resolve(schema.$defs[node.$ref.split("/").pop()]) : node);
  const kind = (key, node) => {
    if (key === "seed") return "any";
    if (key === "w") return "bin";
    const { type, anyOf, oneOf } = resolve(node);
    const types = new Set(
      [type, ...[...(anyOf ?? []), ...(oneOf ?? [])].map((item) => item.type)].filter(Boolean),
    );
    if (types.size === 2 && types.has("integer") && types.has("number")) return "num";
    if (types.size === 0 && resolve(node).const !== undefined)
      return typeof resolve(node).const === "string" ? "str" : "any";
    if (types.size !== 1) return "any";
    return { string: "str", integer: "uint", number: "num", boolean: "bool", object: "map", array: "list" }[
      [...types][0]
    ];
  };
  const { properties = {}, required = [] } = resolve(schema.properties.d);
  return Object.fromEntries(
    Object.entries(properties).map(([key, node]) => [
      key,
      kind(key, node) + (required.includes(key) ? "" : "?"),
    ]),
  );
}

function payloads(name, comment, list) {
  const lines = list.map(([op, schema]) => `  ${JSON.stringify(op)}: ${payload(schema)};\n`);
  return `/** ${comment} */\nexport interface ${name} {\n${lines.join("")}}\n`;
}

export async function generate() {
  const [client, server] = [frames("client"), frames("server")];
  // One schema whose definitions are all payloads, so that each type is there once.
  const $defs = {};
  for (const [, schema] of [...client, ...server]) Object.assign($defs, adapt(schema).$defs);
  delete $defs.Cid;
  const names = [...client, ...server].map(([, schema]) => payload(schema));
  const all = {
    title: "Payloads",
    type: "object",
    $defs,
    anyOf: [...new Set(names)].map((name) => ({ $ref: `#/$defs/${name}` })),
  };
  const types = await compile(all, "Payloads", {
    additionalProperties: false,
    bannerComment: "",
    declareExternallyReferenced: true,
    unreachableDefinitions: false,
    format: true,
    style: { printWidth: 112 },
  });
  const shapes = Object.fromEntries(server.map(([op, schema]) => [op, shape(schema)]));
  return [
    HEADER,
    types.replace(/export type Payloads =[^;]*;\n/, ""),
    payloads("ServerPayloads", "Payloads of the frames that the server sends, by `op`.", server),
    payloads("ClientPayloads", "Payloads of the frames that the client sends, by `op`.", client),
    "/** Kinds of the values in the payloads of the server. */",
    `export const SHAPES: { readonly [op: string]: { readonly [key: string]: string } } = ${JSON.stringify(shapes, null, 2)};\n`,
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = await generate();
  if (!process.argv.includes("--check")) {
    writeFileSync(target, text);
  } else if (readFileSync(target, "utf8") !== text) {
    console.error("src/generated.ts is not what the schemas give: run `npm run generate`");
    process.exitCode = 1;
  }
}
