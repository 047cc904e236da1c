/** Gradients of one canvas, each made once: making one takes longer than painting with it. */
export class Paints {
  readonly #made = new Map<string, CanvasGradient>();

  get(name: string, make: () => CanvasGradient): CanvasGradient {
    const known = this.#made.get(name);
    if (known) return known;
    const made = make();
    this.#made.set(name, made);
    return made;
  }

  clear(): void {
    this.#made.clear();
  }
}
