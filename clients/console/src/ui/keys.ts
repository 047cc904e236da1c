/** A key that does something wherever nobody writes. */
export interface Key {
  key: string;
  what: string;
  press(): void;
}

/** Single keys for what is done often. They can be turned off: not everybody hits them on purpose. */
export class Keys {
  readonly #keys: readonly Key[];
  isOn = true;

  constructor(keys: readonly Key[]) {
    this.#keys = keys;
    document.addEventListener("keydown", (event) => this.#down(event));
  }

  get all(): readonly Key[] {
    return this.#keys;
  }

  #down(event: KeyboardEvent): void {
    if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
    const target = event.target instanceof HTMLElement ? event.target : undefined;
    const isEscape = event.key === "Escape";
    if (document.querySelector("dialog[open]")) return;
    if (!isEscape && (!this.isOn || isWritten(target))) return;
    const key = this.#keys.find(({ key }) => key === event.key || (key === "1–8" && /^[1-8]$/.test(event.key)));
    if (!key) return;
    event.preventDefault();
    this.pressed = event.key;
    key.press();
  }

  /** The key that was pressed last. */
  pressed = "";
}

function isWritten(target: HTMLElement | undefined): boolean {
  if (!target) return false;
  if (target.isContentEditable || target.matches("textarea, select")) return true;
  return target instanceof HTMLInputElement && !["range", "checkbox", "button"].includes(target.type);
}
