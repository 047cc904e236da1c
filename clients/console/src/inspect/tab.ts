import type { Connection } from "../net/connection.js";
import type { Cast } from "../talk/cast.js";
import type { Character } from "../talk/character.js";

/** What the tabs beside the stages work with. */
export interface Desk {
  connection: Connection;
  cast: Cast;
  /** What goes wrong is told there. */
  complain(why: string): void;
}

/** The contents of a tab for one NPC. */
export interface Tab {
  readonly element: HTMLElement;
  /** Something of the NPC has changed while the tab is seen. */
  update(): void;
  close?(): void;
}

export type MakeTab = (character: Character, desk: Desk) => Tab;
