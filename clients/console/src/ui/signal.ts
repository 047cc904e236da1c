/** Takes a listener away again. */
export type Off = () => void;

/** Something that happens, and who wants to know. */
export class Signal<Value> {
  readonly #listeners = new Set<(value: Value) => void>();

  on(listener: (value: Value) => void): Off {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(value: Value): void {
    for (const listener of [...this.#listeners]) listener(value);
  }
}

/** A value that tells when it changes. */
export class State<Value> {
  readonly #signal = new Signal<Value>();
  #value: Value;

  constructor(value: Value) {
    this.#value = value;
  }

  get value(): Value {
    return this.#value;
  }

  set(value: Value): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    this.#signal.emit(value);
  }

  on(listener: (value: Value) => void): Off {
    return this.#signal.on(listener);
  }

  /** Calls it now, too. */
  follow(listener: (value: Value) => void): Off {
    listener(this.#value);
    return this.#signal.on(listener);
  }
}
