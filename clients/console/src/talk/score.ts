import { noUnits, REGIONS, strongest } from "../face/units.js";
import { isGood } from "../inspect/bond.js";
import type { TurnRecord } from "../turn/record.js";
import { percent, signed } from "../ui/format.js";
import type { Color } from "../ui/palette.js";

/** A turn as the timeline draws it: plain values, which can be handed to another thread. Times in milliseconds. */
export interface Score {
  /** How much time the axis has room for. */
  span: number;
  words: { text: string; from: number; to: number }[];
  /** What is felt from `t` on; the last of it up to `feltTo`. */
  feelings: { t: number; label: string; intensity: number }[];
  feltTo: number;
  /** For each region of the face how much it does (0 to 1) at even distances from 0 up to `faceTo`. */
  face: Float32Array[];
  faceTo: number;
  acts: Act[];
  /** Where it was cut off. */
  cut: number | undefined;
}

/** Something proposed, or a move of the relationship; `out`: it was taken back. */
interface Act {
  t: number;
  text: string;
  color: Color;
  out: boolean;
}

/** How much time the axis has room for: grows in steps, so that it does not shake. */
function spanOf(end: number): number {
  return Math.max(4000, Math.ceil((end + 200) / 2000) * 2000);
}

/** Writes a turn down; `samples` of the face in the whole of the axis. */
export function scoreOf(record: TurnRecord | undefined, samples: number): Score {
  const end = record?.endMs ?? 0;
  const span = spanOf(end);
  const cut = record?.cancelled?.t_ms;
  const faceTo = record?.face.endMs ?? 0;
  return {
    span,
    words: record?.speech.words() ?? [],
    feelings: record?.emotions.map(({ t_ms, label, intensity }) => ({ t: t_ms, label, intensity })) ?? [],
    feltTo: cut ?? end,
    face: record && record.face.length > 0 ? faceOf(record, faceTo, Math.ceil((samples * faceTo) / span)) : [],
    faceTo,
    acts: record ? actsOf(record) : [],
    cut,
  };
}

function faceOf(record: TurnRecord, to: number, steps: number): Float32Array[] {
  const units = noUnits();
  const face = REGIONS.map(() => new Float32Array(steps + 1));
  for (let step = 0; step <= steps; step += 1) {
    record.face.unitsAt((step * to) / Math.max(1, steps), units);
    REGIONS.forEach((region, index) => {
      const samples = face[index];
      if (samples) samples[step] = strongest(units, region);
    });
  }
  return face;
}

function actsOf({ socials, actions }: TurnRecord): Act[] {
  const moves = socials.flatMap(({ delta, t_ms }): Act[] => {
    const [most] = Object.entries(delta).sort(([, a], [, b]) => Math.abs(b) - Math.abs(a));
    if (!most) return [];
    const [axis, change] = most;
    const color = isGood(axis, change) ? "good" : "warn";
    return [{ t: t_ms, text: `${axis} ${signed(change)}`, color, out: false }];
  });
  const proposals = actions.map(({ name, t_ms, p, retracted }): Act => {
    return { t: t_ms, text: `${name} ${percent(p)}`, color: retracted ? "faint" : "ink", out: retracted };
  });
  return [...moves, ...proposals].sort((a, b) => a.t - b.t);
}
