/** The 52 shapes in the order of ARKit, which is the gateway's. */
export const SHAPES = [
  "eyeBlinkLeft",
  "eyeLookDownLeft",
  "eyeLookInLeft",
  "eyeLookOutLeft",
  "eyeLookUpLeft",
  "eyeSquintLeft",
  "eyeWideLeft",
  "eyeBlinkRight",
  "eyeLookDownRight",
  "eyeLookInRight",
  "eyeLookOutRight",
  "eyeLookUpRight",
  "eyeSquintRight",
  "eyeWideRight",
  "jawForward",
  "jawLeft",
  "jawRight",
  "jawOpen",
  "mouthClose",
  "mouthFunnel",
  "mouthPucker",
  "mouthLeft",
  "mouthRight",
  "mouthSmileLeft",
  "mouthSmileRight",
  "mouthFrownLeft",
  "mouthFrownRight",
  "mouthDimpleLeft",
  "mouthDimpleRight",
  "mouthStretchLeft",
  "mouthStretchRight",
  "mouthRollLower",
  "mouthRollUpper",
  "mouthShrugLower",
  "mouthShrugUpper",
  "mouthPressLeft",
  "mouthPressRight",
  "mouthLowerDownLeft",
  "mouthLowerDownRight",
  "mouthUpperUpLeft",
  "mouthUpperUpRight",
  "browDownLeft",
  "browDownRight",
  "browInnerUp",
  "browOuterUpLeft",
  "browOuterUpRight",
  "cheekPuff",
  "cheekSquintLeft",
  "cheekSquintRight",
  "noseSneerLeft",
  "noseSneerRight",
  "tongueOut",
] as const;

export type Shape = (typeof SHAPES)[number];
type StemOf<Name> = Name extends `${infer Stem}Left` ? Stem : never;
/** Shapes that come in two, by what their names begin with. */
export type Pair = StemOf<Shape>;
export type Side = "Left" | "Right";

/** How many there are. */
export const COUNT = SHAPES.length;

/** A weight for each shape, 0 to 1. */
export type Pose = Float32Array;

const INDEX = new Map<string, number>(SHAPES.map((name, index) => [name, index]));

/** A face that shows nothing. */
export function neutral(): Pose {
  return new Float32Array(COUNT);
}

/** Reads a pose by the names of its shapes. */
export class Reader {
  #pose: Pose = neutral();

  at(pose: Pose): this {
    this.#pose = pose;
    return this;
  }

  of(shape: Shape): number {
    return this.#pose[INDEX.get(shape) ?? -1] ?? 0;
  }

  side(stem: Pair, side: Side): number {
    return this.#pose[INDEX.get(stem + side) ?? -1] ?? 0;
  }

  both(stem: Pair): number {
    return (this.side(stem, "Left") + this.side(stem, "Right")) / 2;
  }
}

/** The weights of a `face.key` as a pose; `names` is the order that the gateway told. */
export function poseOf(w: Uint8Array, names: readonly string[]): Pose {
  const pose = neutral();
  for (let index = 0; index < w.length; index += 1) {
    const place = names[index] === SHAPES[index] ? index : INDEX.get(names[index] ?? "");
    if (place !== undefined) pose[place] = (w[index] ?? 0) / 255;
  }
  return pose;
}

/** A pose by the names of shapes; `*` for both sides. */
export function makePose(weights: { [shape: string]: number }): Pose {
  const pose = neutral();
  for (const [name, weight] of Object.entries(weights)) {
    const names = name.endsWith("*") ? [`${name.slice(0, -1)}Left`, `${name.slice(0, -1)}Right`] : [name];
    for (const each of names) pose[INDEX.get(each) ?? 0] = weight;
  }
  return pose;
}
