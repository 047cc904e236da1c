/** The colors that the style sheet has for what is drawn. */
export const NAMES = [
  "ink",
  "soft",
  "faint",
  "line",
  "panel",
  "raised",
  "accent",
  "neutral",
  "joy",
  "sadness",
  "anger",
  "fear",
  "disgust",
  "surprise",
  "contempt",
  "warn",
  "good",
] as const;

export type Color = (typeof NAMES)[number];

/** What each of them is now. */
export type Palette = Readonly<Record<Color, string>>;

/** The color of a feeling. */
export function tint(palette: Palette, label: string): string {
  return label in palette ? palette[label as Color] : palette.neutral;
}
