import type { NpcJoin } from "npc-gateway-client";
import { type Look, lookOf } from "../face/look.js";
import { makePose, neutral, type Pose } from "../face/shapes.js";
import { approach, HeadView } from "../face/view.js";
import { h, uid } from "../ui/dom.js";
import { type Animated, loop } from "../ui/loop.js";

/** The archetypes that come with the gateway, for those who may not ask which there are. */
export const BUILT_IN: readonly Kind[] = [
  { name: "vampire", title: "Vampire" },
  { name: "werewolf", title: "Werewolf" },
  { name: "zombie", title: "Zombie" },
  { name: "ghoul", title: "Ghoul" },
  { name: "lich", title: "Lich" },
];

export interface Kind {
  name: string;
  title: string;
}

/** How a picture greets who points at it. */
const GREETINGS: { readonly [archetype: string]: Pose } = {
  vampire: makePose({
    mouthSmileLeft: 0.7,
    mouthSmileRight: 0.35,
    browOuterUpLeft: 0.7,
    eyeSquintRight: 0.4,
    "mouthUpperUp*": 0.5,
    "mouthLowerDown*": 0.2,
  }),
  werewolf: makePose({
    "browDown*": 0.9,
    "noseSneer*": 0.8,
    "mouthUpperUp*": 0.9,
    "mouthLowerDown*": 0.6,
    jawOpen: 0.25,
    "eyeSquint*": 0.3,
  }),
  zombie: makePose({
    jawOpen: 0.6,
    browInnerUp: 0.5,
    mouthLeft: 0.5,
    eyeLookUpLeft: 0.6,
    eyeLookOutRight: 0.6,
  }),
  ghoul: makePose({
    "eyeWide*": 0.9,
    "mouthSmile*": 0.8,
    "mouthUpperUp*": 0.6,
    "mouthLowerDown*": 0.4,
    jawOpen: 0.15,
    browInnerUp: 0.4,
  }),
  lich: makePose({ jawOpen: 0.35, "browDown*": 0.6, "mouthStretch*": 0.5, "eyeLookDown*": 0.4 }),
};

const SMILE = makePose({ "mouthSmile*": 0.7, "cheekSquint*": 0.5, browInnerUp: 0.2 });

export interface GalleryHost {
  join(request: NpcJoin): Promise<void>;
}

/** The archetypes as faces to choose from, and who exactly it shall be. */
export class Gallery implements Animated {
  readonly element: HTMLElement;
  readonly #host: GalleryHost;
  readonly #tiles: Tile[];
  readonly #id: HTMLInputElement;
  readonly #name: HTMLInputElement;
  readonly #seed: HTMLInputElement;
  readonly #off: () => void;
  #before = 0;

  constructor(kinds: readonly Kind[], host: GalleryHost) {
    this.#host = host;
    this.#tiles = kinds.map((kind) => new Tile(kind, () => void this.#join(kind.name)));
    this.#id = h("input", {
      id: uid("id"),
      type: "text",
      placeholder: "a new one",
      maxlength: "64",
      pattern: "[A-Za-z0-9_.:\\-]+",
    });
    this.#name = h("input", {
      id: uid("name"),
      type: "text",
      placeholder: "the pack’s choice",
      maxlength: "64",
    });
    this.#seed = h("input", { id: uid("seed"), type: "number", placeholder: "any", min: "0", step: "1" });
    const labelled = (label: string, input: HTMLInputElement) =>
      h("div", { class: "field" }, h("label", { for: input.id }, label), input);
    this.element = h(
      "div",
      { class: "gallery" },
      h("ul", { class: "tiles" }, ...this.#tiles.map(({ element }) => h("li", {}, element))),
      h(
        "details",
        { class: "exactly" },
        h("summary", {}, "Somebody in particular"),
        h(
          "div",
          { class: "pair" },
          labelled("Id", this.#id),
          labelled("Name", this.#name),
          labelled("Seed", this.#seed),
        ),
        h(
          "p",
          { class: "hint" },
          "An id that the gateway knows brings back who it was, and what it remembers of you.",
        ),
      ),
    );
    this.#off = loop.add(this);
  }

  focus(): void {
    this.#tiles[0]?.element.focus();
  }

  frame(now: number): boolean {
    const passed = Math.min(100, now - this.#before) / 3;
    this.#before = now;
    let moving = false;
    for (const tile of this.#tiles) moving = tile.frame(now, passed) || moving;
    return moving;
  }

  close(): void {
    this.#off();
    for (const tile of this.#tiles) tile.close();
  }

  async #join(archetype: string): Promise<void> {
    const given = this.#id.value.trim();
    const name = this.#name.value.trim();
    const seed = this.#seed.value.trim();
    await this.#host.join({
      npc: given === "" ? fresh(archetype) : given,
      archetype,
      ...(name === "" ? {} : { name }),
      ...(/^\d{1,20}$/.test(seed) ? { seed: BigInt(seed) } : {}),
    });
  }
}

/** An id that is hardly taken. */
function fresh(archetype: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(3));
  return `${archetype}-${[...bytes].map((byte) => byte.toString(36).padStart(2, "0")).join("")}`;
}

class Tile {
  readonly element: HTMLButtonElement;
  readonly #head: HeadView;
  readonly #pose = neutral();
  readonly #greeting: Pose;
  readonly #rest = neutral();
  #greets = false;

  constructor(kind: Kind, chosen: () => void) {
    const look: Look = lookOf(kind.name);
    this.#greeting = GREETINGS[kind.name] ?? SMILE;
    this.#head = new HeadView(look, "");
    this.#head.element.setAttribute("aria-hidden", "true");
    const greet = (on: boolean) => () => {
      this.#greets = on;
      loop.wake();
    };
    this.element = h(
      "button",
      {
        type: "button",
        class: "tile",
        "data-archetype": kind.name,
        on: {
          click: chosen,
          pointerenter: greet(true),
          pointerleave: greet(false),
          focus: greet(true),
          blur: greet(false),
        },
      },
      this.#head.element,
      h("span", { class: "tile-name" }, kind.title),
    );
    this.element.style.setProperty("--tint", look.cloth.inner);
  }

  frame(now: number, passed: number): boolean {
    const away = approach(this.#pose, this.#greets ? this.#greeting : this.#rest, passed);
    this.#head.draw(this.#pose, now);
    return away;
  }

  close(): void {
    this.#head.close();
  }
}
