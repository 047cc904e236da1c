import { neutral, type Pose, poseOf } from "../face/shapes.js";
import { noUnits, type Units, unitsOf } from "../face/units.js";

/** Keys of one turn that are kept; twelve come in a second of speech. */
const MAX_KEYS = 8192;

/** From `start` on the face moves evenly from where it was, and is there `ease` later. Milliseconds. */
interface Key {
  start: number;
  ease: number;
  from: Pose;
  to: Pose;
  unitsFrom: Units;
  unitsTo: Units;
}

/** The face of one turn, at any moment of it. */
export class FaceTrack {
  readonly #keys: Key[] = [];
  readonly #names: readonly string[];
  readonly #base: Pose;
  /** The face was told to be neutral after a cut. */
  #cut = false;

  /** `names` is the order of the shapes, `base` the face when the turn begins. */
  constructor(names: readonly string[], base: Pose) {
    this.#names = names;
    this.#base = base.slice();
  }

  get length(): number {
    return this.#keys.length;
  }

  /** When it has come to rest. */
  get endMs(): number {
    const last = this.#keys.at(-1);
    return last ? last.start + last.ease : 0;
  }

  /** When each key begins. */
  starts(): number[] {
    return this.#keys.map(({ start }) => start);
  }

  /** Takes a key that comes at `now` of the turn's clock. */
  add(
    key: { t_ms: number; ease_ms: number; w: Uint8Array; au: { [unit: string]: number } },
    now: number,
  ): void {
    if (this.#keys.length >= MAX_KEYS) return;
    // The way back to neutral takes its time, also when the word of it comes late.
    const start = this.#cut ? Math.max(key.t_ms, now) : key.t_ms;
    this.#push(start, key.ease_ms, poseOf(key.w, this.#names), unitsOf(key.au));
  }

  /** What lies from `cutMs` on is void; the face stays where it is at `now`. */
  cut(cutMs: number, now: number): void {
    const at = Math.max(cutMs, now);
    const pose = neutral();
    const units = noUnits();
    while ((this.#keys.at(-1)?.start ?? -1) >= at) this.#keys.pop();
    this.poseAt(at, pose);
    this.unitsAt(at, units);
    while ((this.#keys.at(-1)?.start ?? -1) >= cutMs) this.#keys.pop();
    this.#push(at, 0, pose, units);
    this.#cut = true;
  }

  poseAt(t: number, out: Pose): void {
    const key = this.#at(t);
    if (key) blend(key.from, key.to, progress(key, t), out);
    else out.set(this.#base);
  }

  unitsAt(t: number, out: Units): void {
    const key = this.#at(t);
    if (key) blend(key.unitsFrom, key.unitsTo, progress(key, t), out);
    else out.fill(0);
  }

  #push(start: number, ease: number, to: Pose, unitsTo: Units): void {
    const last = this.#keys.at(-1);
    if (last && last.start + last.ease <= start) {
      // As it should be: the one before has been reached.
      this.#keys.push({ start, ease, from: last.to, to, unitsFrom: last.unitsTo, unitsTo });
      return;
    }
    const from = neutral();
    const unitsFrom = noUnits();
    this.poseAt(start, from);
    this.unitsAt(start, unitsFrom);
    this.#keys.push({ start, ease, from, to, unitsFrom, unitsTo });
  }

  /** The last key that has begun. */
  #at(t: number): Key | undefined {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#keys[middle]?.start ?? 0) <= t) low = middle + 1;
      else high = middle;
    }
    return this.#keys[low - 1];
  }
}

function progress({ start, ease }: Key, t: number): number {
  return ease <= 0 ? 1 : Math.min(1, (t - start) / ease);
}

function blend(from: Float32Array, to: Float32Array, share: number, out: Float32Array): void {
  for (let index = 0; index < out.length; index += 1) {
    const was = from[index] ?? 0;
    out[index] = was + ((to[index] ?? 0) - was) * share;
  }
}
