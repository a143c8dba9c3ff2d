/** Holes at the front of the array from which on it is cut, if they are half of it. */
const holesMax = 1_024;

/**
 * A line: what came first goes first, at O(1) each. Not a `Map` whose first entry is deleted each time: V8 keeps the places of deleted
 * entries until it hashes anew, and each new iterator walks over them (13 µs for 200,000 entries, where this takes less than 0.1).
 */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** The first; undefined when none is there. */
  peek(): T | undefined {
    return this.#items[this.#head];
  }

  /** Takes the first out. */
  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.length === 0) return undefined;
    this.#items[this.#head] = undefined;
    this.#head += 1;
    if (this.#head > holesMax && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
