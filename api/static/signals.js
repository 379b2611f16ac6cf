// A small event hub: who is interested in a thing is told when it changes.

export class Signals {
  #listeners = new Map();

  /** Call `listener` at every `emit(name)`; the answer takes it off again. */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** Tell everybody who asked for `name`. */
  emit(name, ...told) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(...told);
  }
}
