// Players that are made when they come near the screen, and given up when many are far from it: a long conversation has thousands.

const MOST = 30;
const NEAR = "600px 0px";

export class LazyPlayers {
  #makers = new Map(); // place → a function that makes its player
  #made = new Map(); // place → player, the longest unseen first
  #near = new Set();
  #observer;

  constructor(scroller) {
    this.#observer = new IntersectionObserver((entries) => entries.forEach((entry) => this.#seen(entry)), {
      root: scroller,
      rootMargin: NEAR,
    });
  }

  /** Make a place's player when it comes near. */
  add(place, make) {
    this.remove(place);
    this.#makers.set(place, make);
    this.#observer.observe(place);
  }

  /** The player of a place, made now if need be. */
  get(place) {
    if (!this.#makers.has(place)) return null;
    if (!this.#made.has(place)) {
      const player = this.#makers.get(place)();
      this.#made.set(place, player);
      place.replaceChildren(player.element);
      this.#trim();
    }
    return this.#made.get(place);
  }

  /** Give a place up. */
  remove(place) {
    this.#observer.unobserve(place);
    this.#makers.delete(place);
    this.#near.delete(place);
    this.#unmake(place);
  }

  /** Give all up. */
  destroy() {
    this.#observer.disconnect();
    for (const place of [...this.#made.keys()]) this.#unmake(place);
    this.#makers.clear();
  }

  #seen({ target, isIntersecting }) {
    if (!isIntersecting) return void this.#near.delete(target);
    this.#near.add(target);
    this.get(target);
  }

  #trim() {
    for (const [place, player] of this.#made) {
      if (this.#made.size <= MOST) return;
      if (!this.#near.has(place) && !player.isPlaying && !place.contains(document.activeElement)) this.#unmake(place);
    }
  }

  #unmake(place) {
    this.#made.get(place)?.destroy();
    this.#made.delete(place);
    place.replaceChildren();
  }
}
