/** A list that is loaded page by page. */
import { problemOf } from '../api/client';
import { Loaded } from './load.svelte';

interface Part<T> {
  items: T[];
  next?: string | null;
}

/** The first page follows what `ask` reads; {@link more} adds the next one. */
export class Pages<T> {
  readonly first: Loaded<Part<T>>;
  #added = $state.raw<{ to: Part<T>; items: T[]; next?: string | null } | null>(null);
  fetching = $state(false);
  readonly #ask: (cursor: string | undefined, signal?: AbortSignal) => Promise<Part<T>>;

  constructor(ask: (cursor: string | undefined, signal?: AbortSignal) => Promise<Part<T>>) {
    this.#ask = ask;
    this.first = new Loaded((signal) => ask(undefined, signal));
  }

  /** Everything that was loaded. */
  get items(): T[] {
    const first = this.first.value;
    if (!first) return [];
    return this.#added?.to === first ? [...first.items, ...this.#added.items] : first.items;
  }

  /** Cursor of the next page, if there is one. */
  get next(): string | null {
    const first = this.first.value;
    return (this.#added && this.#added.to === first ? this.#added.next : first?.next) ?? null;
  }

  /** Loads the next page. */
  async more(): Promise<void> {
    const first = this.first.value;
    if (!first || this.next === null || this.fetching) return;
    this.fetching = true;
    try {
      const part = await this.#ask(this.next);
      const before = this.#added?.to === first ? this.#added.items : [];
      this.#added = { to: first, items: [...before, ...part.items], next: part.next };
    } catch (error) {
      this.first.problem = problemOf(error);
    }
    this.fetching = false;
  }
}
