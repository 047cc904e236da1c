/** The part of the face in which a unit is seen. */
export type Region = "brows" | "eyes" | "cheeks and nose" | "mouth" | "jaw";

export const REGIONS: readonly Region[] = ["brows", "eyes", "cheeks and nose", "mouth", "jaw"];

export interface Unit {
  /** FACS number. */
  number: number;
  name: string;
  region: Region;
}

const unit = (number: number, name: string, region: Region): Unit => ({ number, name, region });

/** The action units that faces of the gateway are made of, from the brows down. */
export const UNITS: readonly Unit[] = [
  unit(1, "Inner brow raiser", "brows"),
  unit(2, "Outer brow raiser", "brows"),
  unit(4, "Brow lowerer", "brows"),
  unit(5, "Upper lid raiser", "eyes"),
  unit(7, "Lid tightener", "eyes"),
  unit(45, "Blink, eye closure", "eyes"),
  unit(6, "Cheek raiser", "cheeks and nose"),
  unit(34, "Cheek puff", "cheeks and nose"),
  unit(9, "Nose wrinkler", "cheeks and nose"),
  unit(10, "Upper lip raiser", "mouth"),
  unit(12, "Lip corner puller", "mouth"),
  unit(14, "Dimpler", "mouth"),
  unit(15, "Lip corner depressor", "mouth"),
  unit(16, "Lower lip depressor", "mouth"),
  unit(17, "Chin raiser", "mouth"),
  unit(18, "Lip pucker", "mouth"),
  unit(19, "Tongue show", "mouth"),
  unit(20, "Lip stretcher", "mouth"),
  unit(22, "Lip funneler", "mouth"),
  unit(23, "Lip tightener", "mouth"),
  unit(24, "Lip pressor", "mouth"),
  unit(25, "Lips part", "mouth"),
  unit(8, "Lips toward each other", "mouth"),
  unit(28, "Lip suck", "mouth"),
  unit(32, "Lip bite", "mouth"),
  unit(26, "Jaw drop", "jaw"),
  unit(27, "Mouth stretch", "jaw"),
];

const PLACE = new Map(UNITS.map(({ number }, index) => [number, index]));
// A lid that stays closed looks like one that blinks.
PLACE.set(43, PLACE.get(45) ?? 0);
const FIRST = new Map(
  REGIONS.map((region) => [region, UNITS.findIndex((each) => each.region === region)] as const),
);

/** Two weights for each unit, the character's left half and its right one; 0 to 1. */
export type Units = Float32Array;

export function noUnits(): Units {
  return new Float32Array(UNITS.length * 2);
}

/** The `au` of a `face.key`. What is not among the units above (where the eyes look, a jaw that is thrust) is left out. */
export function unitsOf(au: { readonly [name: string]: number }): Units {
  const units = noUnits();
  for (const name in au) {
    const { left, right } = placesOf(name);
    const weight = au[name] ?? 0;
    if (left !== undefined) units[left] = Math.max(units[left] ?? 0, weight);
    if (right !== undefined) units[right] = Math.max(units[right] ?? 0, weight);
  }
  return units;
}

interface Places {
  left?: number;
  right?: number;
}

/** Names that were read before; there are some hundred at most that mean anything. */
const READ = new Map<string, Places>();
const MAX_READ = 512;

/** Where the weight of `AU12` or `AU14L` goes. */
function placesOf(name: string): Places {
  const known = READ.get(name);
  if (known) return known;
  const [, number = "", side = ""] = /^AU(\d+)([LR]?)$/.exec(name) ?? [];
  const place = PLACE.get(Number(number));
  const places: Places = {};
  if (place !== undefined && side !== "R") places.left = place * 2;
  if (place !== undefined && side !== "L") places.right = place * 2 + 1;
  if (READ.size < MAX_READ) READ.set(name, places);
  return places;
}

/** How much is going on in a region: its strongest unit. */
export function strongest(units: Units, region: Region): number {
  let most = 0;
  for (let place = FIRST.get(region) ?? 0; UNITS[place]?.region === region; place += 1) {
    most = Math.max(most, units[place * 2] ?? 0, units[place * 2 + 1] ?? 0);
  }
  return most;
}

/** The units that show, strongest first, as a sentence. */
export function spelled(units: Units): string {
  const shown = UNITS.map(({ number, name }, place) => {
    const most = Math.max(units[place * 2] ?? 0, units[place * 2 + 1] ?? 0);
    return { text: `AU${number} ${name.toLowerCase()} ${Math.round(most * 100)} %`, most };
  });
  const strong = shown.filter(({ most }) => most >= 0.05).sort((a, b) => b.most - a.most);
  return strong.length === 0
    ? "no action unit"
    : strong
        .slice(0, 6)
        .map(({ text }) => text)
        .join(", ");
}
