import { noUnits, spelled } from "../face/units.js";
import type { TurnRecord } from "../turn/record.js";
import { percent } from "../ui/format.js";

/** One moment of a turn in words: the time, the word, the feeling, the face, what is proposed. */
export function spelledMoment(record: TurnRecord, t: number): string {
  const units = noUnits();
  record.face.unitsAt(t, units);
  const felt = record.emotionAt(t);
  const word = record.speech.words().find(({ from, to }) => t >= from && t < to)?.text;
  const act = record.actions.findLast((action) => action.t_ms <= t && t - action.t_ms < 1000);
  const parts = [
    `${(t / 1000).toFixed(2)} s`,
    word === undefined ? undefined : `“${word}”`,
    felt ? `${felt.label} ${percent(felt.intensity)}` : "neutral",
    spelled(units),
    act ? `${act.retracted ? "taken back: " : ""}${act.name}` : undefined,
  ];
  return parts.filter((part) => part !== undefined).join(" · ");
}
