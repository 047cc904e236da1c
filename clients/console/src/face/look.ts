/** What a head is drawn with. Everything that moves comes from the shapes; this is what stays. */
export interface Look {
  skin: { light: string; base: string; shade: string };
  line: string;
  hair: { base: string; light: string };
  brow: string;
  /** 1: as thick as usual; 0: none. */
  browWeight: number;
  iris: { left: string; right: string };
  sclera: string;
  /** How dark the sockets are, 0 to 1. */
  socket: number;
  glow: boolean;
  lip: string;
  lipWeight: number;
  blush: string;
  ears: "round" | "point" | "long" | "wolf" | "none";
  nose: "human" | "wolf" | "none" | "flat";
  teeth: "human" | "fangs" | "tusks" | "sharp" | "skull";
  top: "peak" | "mane" | "tufts" | "bald" | "hood" | "bob";
  cloth: { base: string; inner: string };
  /** Width of the jaw, 1 is usual; and how much the cheeks are hollow, 0 to 1. */
  jaw: number;
  hollow: number;
  marks: "stitches" | "crack" | "none";
}

const HUMAN: Look = {
  skin: { light: "#f3d8c1", base: "#e2b797", shade: "#b98765" },
  line: "#5b3c2a",
  hair: { base: "#4a3325", light: "#6d4c38" },
  brow: "#3f2b1f",
  browWeight: 1,
  iris: { left: "#4f7a63", right: "#4f7a63" },
  sclera: "#fbf8f2",
  socket: 0.12,
  glow: false,
  lip: "#b8665c",
  lipWeight: 1,
  blush: "#d9705f",
  ears: "round",
  nose: "human",
  teeth: "human",
  top: "bob",
  cloth: { base: "#3b4656", inner: "#596579" },
  jaw: 1,
  hollow: 0,
  marks: "none",
};

const LOOKS: { readonly [archetype: string]: Look } = {
  vampire: {
    ...HUMAN,
    skin: { light: "#f6eeea", base: "#e3d3cf", shade: "#a68f94" },
    line: "#3c2a33",
    hair: { base: "#2a2330", light: "#5d5064" },
    brow: "#1d1820",
    iris: { left: "#b3202c", right: "#b3202c" },
    socket: 0.34,
    lip: "#93303a",
    blush: "#c98a92",
    ears: "point",
    teeth: "fangs",
    top: "peak",
    cloth: { base: "#2b2733", inner: "#9c2430" },
    jaw: 0.94,
    hollow: 0.35,
  },
  werewolf: {
    ...HUMAN,
    skin: { light: "#c99b70", base: "#a4774f", shade: "#6a4a32" },
    line: "#33231a",
    hair: { base: "#4b3627", light: "#7a5a41" },
    brow: "#2e2018",
    browWeight: 1.5,
    iris: { left: "#e0a021", right: "#e0a021" },
    sclera: "#f3e6c4",
    socket: 0.36,
    lip: "#5d3a31",
    lipWeight: 0.7,
    blush: "#a3583d",
    ears: "wolf",
    nose: "wolf",
    teeth: "tusks",
    top: "mane",
    cloth: { base: "#4d3a2a", inner: "#6b523c" },
    jaw: 1.08,
  },
  zombie: {
    ...HUMAN,
    skin: { light: "#c5d1ae", base: "#9fb18a", shade: "#64785a" },
    line: "#2f3b2c",
    hair: { base: "#4c4a38", light: "#6e6b52" },
    brow: "#3d3e2e",
    browWeight: 0.8,
    iris: { left: "#dfe3da", right: "#7c8a4a" },
    sclera: "#eeecd0",
    socket: 0.42,
    lip: "#7c6b62",
    lipWeight: 0.8,
    blush: "#8b6f5f",
    teeth: "human",
    top: "tufts",
    cloth: { base: "#4a4d40", inner: "#61655a" },
    hollow: 0.3,
    marks: "stitches",
  },
  ghoul: {
    ...HUMAN,
    skin: { light: "#d8dbdf", base: "#b2b6bf", shade: "#70747f" },
    line: "#33363f",
    hair: { base: "#70747f", light: "#8b8f99" },
    brow: "#5b5f69",
    browWeight: 0.6,
    iris: { left: "#e8d44a", right: "#e8d44a" },
    sclera: "#d8d3b0",
    socket: 0.72,
    lip: "#6f5a63",
    lipWeight: 0.6,
    blush: "#8f7f8a",
    ears: "long",
    nose: "flat",
    teeth: "sharp",
    top: "bald",
    cloth: { base: "#3f3a3c", inner: "#575053" },
    jaw: 0.92,
    hollow: 0.55,
  },
  lich: {
    ...HUMAN,
    skin: { light: "#f4ecd4", base: "#ddd0ae", shade: "#958764" },
    line: "#4a4130",
    hair: { base: "#29404a", light: "#3d5c68" },
    brow: "#b3a683",
    browWeight: 1.1,
    iris: { left: "#38d6c4", right: "#38d6c4" },
    sclera: "#161a1c",
    socket: 0.95,
    glow: true,
    lip: "#a89a76",
    lipWeight: 0.45,
    blush: "#a89a76",
    ears: "none",
    nose: "none",
    teeth: "skull",
    top: "hood",
    cloth: { base: "#1f3038", inner: "#101a1f" },
    jaw: 0.88,
    hollow: 0.8,
    marks: "crack",
  },
};

/** How characters of an archetype look; those that nobody has drawn are people of many colors. */
export function lookOf(archetype: string, marks: readonly string[] = []): Look {
  const look = LOOKS[archetype] ?? someone(archetype);
  if (marks.includes("red_eyes")) return { ...look, iris: { left: "#e01f2e", right: "#e01f2e" } };
  if (marks.includes("pale_eyes")) return { ...look, iris: { left: "#c9d3dc", right: "#c9d3dc" } };
  return look;
}

/** The color that stands for an archetype. */
export function tintOf(archetype: string): string {
  return lookOf(archetype).cloth.inner;
}

function someone(name: string): Look {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) % 360;
  const of = (saturation: number, lightness: number, turn = 0) =>
    `hsl(${(hash + turn) % 360} ${saturation}% ${lightness}%)`;
  return {
    ...HUMAN,
    skin: { light: of(32, 84), base: of(26, 70), shade: of(22, 44) },
    line: of(25, 20),
    hair: { base: of(25, 24, 180), light: of(25, 38, 180) },
    brow: of(25, 20, 180),
    iris: { left: of(60, 40, 120), right: of(60, 40, 120) },
    lip: of(35, 48, 350),
    blush: of(55, 58, 340),
    cloth: { base: of(25, 26, 40), inner: of(30, 38, 40) },
  };
}
