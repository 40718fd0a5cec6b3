// Chance that can be had again: the same seed gives the same cases, on every machine.

/** Numbers from a seed (sfc32). */
export class Random {
  #a;
  #b;
  #c;
  #d = 1;

  constructor(seed, stream = 0) {
    this.#a = seed >>> 0;
    this.#b = stream >>> 0;
    this.#c = 0x9e3779b9;
    for (let i = 0; i < 12; i++) this.#next();
  }

  #next() {
    const t = (this.#a + this.#b + this.#d++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + t;
    return t >>> 0;
  }

  /** 0 to `end` - 1. */
  below(end) {
    return this.#next() % end;
  }

  /** `from` to `to`, both included. */
  between(from, to) {
    return from + this.below(to - from + 1);
  }

  chance(share) {
    return this.#next() / 2 ** 32 < share;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** One of a list of `[weight, value]`; a value that is a function is called. */
  weighted(list) {
    let at = this.below(list.reduce((sum, [weight]) => sum + weight, 0));
    const [, value] = list.find(([weight]) => (at -= weight) < 0);
    return typeof value === "function" ? value() : value;
  }

  times(from, to, make) {
    return Array.from({ length: this.between(from, to) }, make);
  }
}
