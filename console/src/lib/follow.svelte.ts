/** An operation until it ends. */
import type { Operation } from '../api/schema';
import { get } from '../api/client';
import { live } from './live.svelte';

/**
 * An operation that a dialog has begun. Events bring its progress; asking now and then covers a connection that was lost. Create
 * it while a component is set up.
 */
export class Followed {
  /** As the API answered; undefined before it has begun. */
  operation = $state.raw<Operation>();
  /** As it is now. */
  readonly now = $derived(this.operation && (live.operations[this.operation.operation_id] ?? this.operation));
  readonly #ended = $derived(this.now !== undefined && !['queued', 'running'].includes(this.now.state));

  constructor() {
    $effect(() => {
      if (!this.operation || this.#ended) return;
      const id = this.operation.operation_id;
      const timer = setInterval(() => {
        get('/v1/operations/{id}', { path: { id: String(id) } as never }).then((fresh) => (this.operation = fresh), () => undefined);
      }, 2_000);
      return () => clearInterval(timer);
    });
  }
}
