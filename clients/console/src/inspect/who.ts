import type { Character } from "../talk/character.js";
import { h } from "../ui/dom.js";
import { words } from "../ui/format.js";
import { radar } from "./radar.js";
import type { Tab } from "./tab.js";

/** Who the NPC is: personality, body, chain. None of it changes while somebody looks. */
export class WhoTab implements Tab {
  readonly element: HTMLElement;

  constructor(character: Character) {
    const { npc, chain } = character.npc.info;
    this.element = h(
      "div",
      { class: "tab-body" },
      npc.personality
        ? radar(npc.personality)
        : h("p", { class: "hint" }, "The gateway tells nothing of its personality."),
      h("h3", {}, "Body"),
      npc.body ? body(npc.body) : h("p", { class: "hint" }, "The gateway tells nothing of its body."),
      h("h3", {}, "What it is made of"),
      list([
        ["id", npc.id],
        ["archetype", npc.archetype],
        ["seed", String(npc.seed)],
        ...Object.entries(chain.tasks).map(([task, { version }]) => [words(task), version] as const),
        ...Object.entries(chain.services ?? {}).map(([name, { url }]) => [`${name} service`, url] as const),
      ]),
      chain.generic &&
        h("p", { class: "hint" }, "No adapter of the archetype is in use: the base model speaks."),
    );
  }

  update(): void {}
}

const UNITS: { readonly [key: string]: string } = { height_m: "m", mass_kg: "kg", age: "years" };

function body(of: { readonly [key: string]: unknown }): HTMLElement {
  const rows: [string, string][] = [];
  for (const [key, given] of Object.entries(of)) {
    const value = key === "age" && typeof given === "number" ? Math.round(given) : given;
    if (key === "morphs" && typeof value === "object" && value !== null) {
      for (const [morph, weight] of Object.entries(value)) rows.push([words(morph), number(weight)]);
    } else if (Array.isArray(value)) {
      rows.push([words(key), value.length === 0 ? "none" : value.map(part).join(", ")]);
    } else {
      const unit = UNITS[key] ?? "";
      rows.push([words(key.replace(/_(m|kg)$/, "")), `${number(value)} ${unit}`.trim()]);
    }
  }
  return list(rows);
}

/** A scar, a wart, or a mark. */
function part(item: unknown): string {
  if (typeof item !== "object" || item === null) return words(String(item));
  const { place, side } = item as { place?: unknown; side?: unknown };
  return (
    [side, place]
      .filter((word) => typeof word === "string")
      .map((word) => words(String(word)))
      .join(" ") || "?"
  );
}

function number(value: unknown): string {
  if (typeof value !== "number") return words(String(value));
  const text = Number.isInteger(value) ? String(value) : value.toFixed(2);
  return text.replace("-", "−");
}

function list(rows: readonly (readonly [string, string])[]): HTMLElement {
  return h(
    "dl",
    { class: "facts-list" },
    ...rows.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))),
  );
}
