/** What a view shows while, after and instead of an answer. */
import type { Problem } from '../api/schema';
import { problemOf } from '../api/client';

/**
 * Loads by `ask` whenever something that `ask` reads changes. What was shown before stays until the next answer, so that
 * nothing jumps. Create it while a component is set up.
 */
export class Loaded<T> {
  value = $state.raw<T | undefined>(undefined);
  problem = $state.raw<Problem | undefined>(undefined);
  loading = $state(true);
  /** When the answer came. */
  at = $state(0);
  #again = $state(0);

  constructor(ask: (signal: AbortSignal) => Promise<T> | null) {
    $effect(() => {
      void this.#again;
      const abort = new AbortController();
      const answer = ask(abort.signal);
      if (answer === null) return;
      this.loading = true;
      answer.then(
        (value) => {
          if (abort.signal.aborted) return;
          this.value = value;
          this.problem = undefined;
          this.loading = false;
          this.at = Date.now();
        },
        (error: unknown) => {
          if (abort.signal.aborted) return;
          this.problem = problemOf(error);
          this.loading = false;
        },
      );
      return () => abort.abort();
    });
  }

  /** Asks again. */
  again(): void {
    this.#again++;
  }
}
