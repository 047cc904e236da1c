import type { Action, NpcEvent } from "npc-gateway-client";
import { reasonOf } from "../talk/cast.js";
import type { Character } from "../talk/character.js";
import { h, say, uid } from "../ui/dom.js";
import type { Desk, Tab } from "./tab.js";

const KINDS: readonly NpcEvent["kind"][] = ["gift", "threat", "injury", "witness", "custom"];
/** Actions that can be offered; the gateway's own limit is in `ready`. */
const MAX_ACTIONS = 32;

/** What goes with every line: where it is said, what may be done, who listens, how it is generated. */
export class SceneTab implements Tab {
  readonly element: HTMLElement;
  readonly #character: Character;
  readonly #desk: Desk;
  readonly #status = h("p", { class: "hint", role: "status" });

  constructor(character: Character, desk: Desk) {
    this.#character = character;
    this.#desk = desk;
    const { scene } = character;
    const numeric = (text: string) => (text.trim() === "" ? undefined : Number(text));
    this.element = h(
      "div",
      { class: "tab-body" },
      area("What is around", scene.context, "A cold hall. Candles. Rain against the windows.", (text) => {
        scene.context = text.trim();
      }),
      area("What it may do, one a line", written(scene.actions), "bow: bows politely", (text) => {
        scene.actions = read(text);
      }),
      field("Who else hears it", "text", scene.audience.join(", "), "lucy, arthur", (text) => {
        scene.audience = text
          .split(",")
          .map((id) => id.trim())
          .filter(Boolean);
      }),
      h(
        "div",
        { class: "pair" },
        field("Most tokens", "number", scene.maxTokens, "as set", (text) => {
          scene.maxTokens = numeric(text);
        }),
        field("Temperature", "number", scene.temperature, "as set", (text) => {
          scene.temperature = numeric(text);
        }),
        field("Seed", "number", scene.seed, "any", (text) => {
          scene.seed = numeric(text);
        }),
      ),
      check("Always the likeliest word", scene.greedy, (on) => {
        scene.greedy = on;
      }),
      h("h3", {}, "Something happens"),
      this.#event(),
      this.#status,
    );
  }

  update(): void {}

  #event(): HTMLElement {
    const kind = h(
      "select",
      { "aria-label": "Kind of event" },
      ...KINDS.map((name) => h("option", { value: name }, name)),
    );
    const text = h("input", {
      type: "text",
      "aria-label": "What happens",
      placeholder: "The visitor hands over a silver ring.",
      maxlength: "2000",
    });
    const submit = async (event: SubmitEvent) => {
      event.preventDefault();
      const what = text.value.trim();
      if (what === "") return;
      try {
        await this.#character.npc.event({ kind: kind.value as NpcEvent["kind"], text: what });
        text.value = "";
        say(this.#status, `${this.#character.name} has lived through it.`);
        this.#desk.cast.stored.emit(this.#character);
      } catch (error) {
        say(this.#status, "");
        this.#desk.complain(reasonOf(error));
      }
    };
    return h(
      "form",
      { class: "happen", on: { submit: (event) => void submit(event) } },
      kind,
      text,
      h("button", { type: "submit" }, "Let it happen"),
    );
  }
}

function written(actions: readonly Action[]): string {
  return actions.map(({ name, description }) => `${name}: ${description}`).join("\n");
}

/** One action a line; of two with one name the first. */
function read(text: string): Action[] {
  const actions = new Map<string, Action>();
  for (const line of text.split("\n")) {
    const [head = "", ...rest] = line.split(":");
    const name = head.trim().slice(0, 64);
    const description = rest.join(":").trim().slice(0, 256);
    if (name !== "" && !actions.has(name) && actions.size < MAX_ACTIONS) {
      actions.set(name, { name, description: description === "" ? name.replaceAll("_", " ") : description });
    }
  }
  return [...actions.values()];
}

function area(label: string, value: string, placeholder: string, changed: (text: string) => void): HTMLElement {
  const id = uid("area");
  const box = h("textarea", {
    id,
    rows: String(Math.max(3, Math.min(8, value.split("\n").length))),
    placeholder,
    on: { input: () => changed(box.value) },
  });
  box.value = value;
  return h("div", { class: "field" }, h("label", { for: id }, label), box);
}

function field(
  label: string,
  type: string,
  value: string | number | undefined,
  placeholder: string,
  changed: (text: string) => void,
): HTMLElement {
  const id = uid("field");
  const input = h("input", {
    id,
    type,
    placeholder,
    step: "any",
    value,
    on: { input: () => changed(input.value) },
  });
  return h("div", { class: "field" }, h("label", { for: id }, label), input);
}

function check(label: string, on: boolean, changed: (on: boolean) => void): HTMLElement {
  const input = h("input", { type: "checkbox", checked: on, on: { change: () => changed(input.checked) } });
  return h("label", { class: "check" }, input, label);
}
