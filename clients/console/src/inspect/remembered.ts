import type { HistoryItem } from "../net/answers.js";
import { h } from "../ui/dom.js";
import { ago, short, words } from "../ui/format.js";

/** Whether an NPC may let a player hear of it: what was said is for those who were there, what happened for all. */
export function mayHear(item: HistoryItem, player: string): boolean {
  if (item.kind !== "dialogue") return true;
  return item.player === player || item.audience.includes(player) || item.witnesses.includes(player);
}

export interface MemoryView {
  /** The NPC's. */
  name: string;
  player: string;
  /** Items by id, for what came to mind. */
  resolve?: (id: string) => HistoryItem | undefined;
}

/** One thing that happened, as a card. */
export function memoryCard(item: HistoryItem, view: MemoryView): HTMLElement {
  const who = item.player === view.player ? "you" : item.player;
  const kept = !mayHear(item, view.player);
  const tags = [
    item.kind === "dialogue" ? undefined : words(item.event_kind ?? item.kind),
    item.tier === undefined ? undefined : `from ${item.tier}`,
    item.audience.length === 0 ? undefined : `heard by ${item.audience.join(", ")}`,
    item.witnesses.length === 0 ? undefined : `seen by ${item.witnesses.join(", ")}`,
    item.reason === undefined || item.reason === "stop" ? undefined : item.reason,
    item.kind === "dialogue" || item.importance === undefined
      ? undefined
      : `importance ${item.importance.toFixed(2)}`,
  ].filter((tag) => tag !== undefined);
  return h(
    "li",
    { class: "memory", "data-kept": kept, "data-kind": item.kind, "data-id": item.id },
    h(
      "p",
      { class: "memory-head" },
      h("span", { class: "who" }, who),
      h("time", { datetime: new Date(item.at_ms).toISOString() }, ago(item.at_ms)),
    ),
    ...told(item, view.name),
    tags.length > 0 && h("p", { class: "tags" }, ...tags.map((tag) => h("span", { class: "chip" }, tag))),
    recalled(item, view),
  );
}

function told(item: HistoryItem, name: string): (HTMLElement | false)[] {
  if (item.kind === "dialogue") {
    const heard = item.heard ?? item.said ?? "";
    const lost = item.said?.startsWith(heard) ? item.said.slice(heard.length) : "";
    return [
      h("p", {}, item.text ?? ""),
      h(
        "p",
        { class: "text" },
        h("span", { class: "sr" }, `${name}: `),
        heard,
        lost !== "" && h("span", { class: "lost", title: "Generated, but not heard" }, lost),
      ),
    ];
  }
  if (item.action !== undefined) {
    const end = item.ok ? "was done" : `did not work${item.reason === undefined ? "" : `: ${item.reason}`}`;
    return [h("p", {}, `an action of its line ${end}`)];
  }
  return [h("p", {}, item.text ?? "")];
}

function recalled(item: HistoryItem, view: MemoryView): HTMLElement | false {
  const { resolve } = view;
  if (!resolve || item.recalled.length === 0) return false;
  const found = item.recalled.map((id) => {
    const memory = resolve(id);
    return h("li", {}, memory ? short(memory.text || memory.said || memory.kind, 120) : short(id, 13));
  });
  return h("details", {}, h("summary", {}, `came to mind: ${item.recalled.length}`), h("ul", {}, ...found));
}
