import { h } from "../ui/dom.js";
import type { Keys } from "../ui/keys.js";

/** What the keys do, and a way to turn them off. */
export function help(keys: Keys): HTMLElement {
  const box = h("input", {
    type: "checkbox",
    checked: keys.isOn,
    on: {
      change: () => {
        keys.isOn = box.checked;
      },
    },
  });
  return h(
    "div",
    { class: "help" },
    h(
      "dl",
      { class: "keys" },
      ...keys.all.map(({ key, what }) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what))),
    ),
    h(
      "p",
      { class: "hint" },
      "In a line that is written: Enter says it, the up arrow brings back the last one. On a timeline: the arrows go through it, Shift makes them leap, Space plays it again, Escape lets go.",
    ),
    h("label", { class: "check" }, box, "Single keys"),
  );
}
