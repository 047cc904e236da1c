import { h, s } from "../ui/dom.js";
import { signed, words } from "../ui/format.js";

/** The families of traits, in the order in which they stand around the circle. */
const FAMILIES: readonly (readonly [name: string, prefix: string, from: number, to: number])[] = [
  ["neuroticism", "neo_", 0, 6],
  ["extraversion", "neo_", 6, 12],
  ["openness", "neo_", 12, 18],
  ["agreeableness", "neo_", 18, 24],
  ["conscientiousness", "neo_", 24, 30],
  ["honesty", "hexaco_", 0, 4],
  ["dark", "dark_", 0, 4],
  ["morals", "moral_", 0, 6],
  ["drives", "drive_", 0, 6],
];

/** The facets of the five factors, in order; JSON keeps none. */
const NEO = [
  "anxiety anger depression self_consciousness immoderation vulnerability",
  "friendliness gregariousness assertiveness activity_level excitement_seeking cheerfulness",
  "imagination artistic_interests emotionality adventurousness intellect liberalism",
  "trust morality altruism cooperation modesty sympathy",
  "self_efficacy orderliness dutifulness achievement_striving self_discipline cautiousness",
].flatMap((facets) => facets.split(" ").map((facet) => `neo_${facet}`));

/** Half the picture's width, and the circle of the strongest trait; 0 is halfway to it. */
const MIDDLE = 150;
const RADIUS = 104;
const STRONGEST = 8;

interface Spoke {
  trait: string;
  value: number;
  family: string;
}

/** Traits by family; those that nobody knows come last. */
function spokes(personality: { readonly [trait: string]: number }): Spoke[] {
  const names = Object.keys(personality);
  const out: Spoke[] = [];
  for (const [family, prefix, from, to] of FAMILIES) {
    const own =
      prefix === "neo_" ? NEO.slice(from, to) : names.filter((name) => name.startsWith(prefix)).slice(from, to);
    for (const trait of own) {
      const value = personality[trait];
      if (value !== undefined) out.push({ trait, value, family });
    }
  }
  const known = new Set(out.map(({ trait }) => trait));
  for (const trait of names) {
    if (!known.has(trait)) out.push({ trait, value: personality[trait] ?? 0, family: "others" });
  }
  return out;
}

/** `neo_artistic_interests` → `artistic interests`. */
function plain(trait: string): string {
  return words(trait.replace(/^[a-z]+_/, ""));
}

/** A personality on one circle, and its strongest traits in words. */
export function radar(personality: { readonly [trait: string]: number }): HTMLElement {
  const all = spokes(personality);
  const angle = (index: number) => (index / all.length) * 2 * Math.PI - Math.PI / 2;
  const at = (index: number, value: number) => {
    const far = (RADIUS * (1 + Math.max(-1, Math.min(1, value)))) / 2;
    return [MIDDLE + far * Math.cos(angle(index)), MIDDLE + far * Math.sin(angle(index))]
      .map((v) => v.toFixed(1))
      .join(",");
  };
  const strongest = [...all].sort((a, b) => Math.abs(b.value) - Math.abs(a.value)).slice(0, STRONGEST);
  const told = strongest.map(({ trait, value }) => `${plain(trait)} ${signed(value)}`);
  const dots = all.map(({ trait, value }, index) => {
    const [cx = "", cy = ""] = at(index, value).split(",");
    return s(
      "circle",
      { class: "radar-dot", cx, cy, r: "3" },
      s("title", {}, `${plain(trait)} ${signed(value)}`),
    );
  });
  return h(
    "figure",
    { class: "radar" },
    s(
      "svg",
      { viewBox: "-12 20 324 260", role: "img", "aria-label": `Personality. Strongest: ${told.join(", ")}` },
      ...[1, 0, -1].map((value) =>
        s("circle", {
          class: value === 0 ? "radar-zero" : "radar-ring",
          cx: MIDDLE,
          cy: MIDDLE,
          r: (RADIUS * (1 + value)) / 2 || 1,
        }),
      ),
      ...families(all, angle),
      s("polygon", { class: "radar-area", points: all.map(({ value }, index) => at(index, value)).join(" ") }),
      ...dots,
    ),
    h(
      "figcaption",
      {},
      ...strongest.map(({ trait, value }) => h("span", { class: "chip" }, `${plain(trait)} ${signed(value)}`)),
    ),
  );
}

function families(all: readonly Spoke[], angle: (index: number) => number): SVGElement[] {
  const out: SVGElement[] = [];
  for (let from = 0; from < all.length; ) {
    const family = all[from]?.family ?? "";
    let to = from;
    while (all[to]?.family === family) to += 1;
    const edge = angle(from - 0.5);
    const middle = angle((from + to - 1) / 2);
    const end = [MIDDLE + RADIUS * Math.cos(edge), MIDDLE + RADIUS * Math.sin(edge)];
    out.push(s("line", { class: "radar-edge", x1: MIDDLE, y1: MIDDLE, x2: end[0], y2: end[1] }));
    const [x, y] = [MIDDLE + (RADIUS + 14) * Math.cos(middle), MIDDLE + (RADIUS + 14) * Math.sin(middle)];
    const anchor = Math.abs(Math.cos(middle)) < 0.35 ? "middle" : Math.cos(middle) > 0 ? "start" : "end";
    // Long names would leave the picture at the sides.
    const name = family.length > 11 ? `${family.slice(0, 8)}.` : family;
    out.push(s("text", { class: "radar-name", x, y: y + 3, "text-anchor": anchor }, name));
    from = to;
  }
  return out;
}
