/**
 * Events as they happen. One EventSource per browser: the tab that holds the lock listens and tells the others, because a
 * browser opens six connections to a host and every further call would wait behind them.
 */
import type { Account, Operation, Stream } from '../api/schema';
import { parse } from './exact';

const LOCK = 'acequia-events';
const TOPICS = ['operations', 'gates', 'streams'] as const;
type Topic = (typeof TOPICS)[number];
interface Told {
  /** `state`: whether the listener is connected; `hello`: a tab that was opened asks for it. */
  topic: Topic | 'state' | 'hello';
  text: string;
}
interface StreamState {
  stream: Stream;
  accounts: Account[];
}

class Live {
  /** Whether events come. */
  connected = $state(false);
  /** Newest state of each domain's stream. */
  streams = $state.raw<Record<string, StreamState>>({});
  /** Newest state of each operation that was heard of. */
  operations = $state.raw<Record<number, Operation>>({});
  /** Grows with every change of a gate. */
  gates = $state(0);
  #stop: AbortController | null = null;
  #channel: BroadcastChannel | null = null;
  /** Whether this tab listens for all. */
  #leads = false;

  /** Listens until {@link stop}. */
  start(): void {
    if (this.#stop) return;
    const stop = new AbortController();
    this.#stop = stop;
    this.#channel = new BroadcastChannel(LOCK);
    this.#channel.onmessage = (event: MessageEvent<Told>) => {
      if (event.data.topic !== 'hello') this.#take(event.data);
      else if (this.#leads) this.#channel?.postMessage({ topic: 'state', text: String(this.connected) } satisfies Told);
    };
    this.#channel.postMessage({ topic: 'hello', text: '' } satisfies Told);
    // Locks exist in secure contexts only. Without them each tab listens for itself.
    if (navigator.locks) {
      navigator.locks.request(LOCK, { signal: stop.signal }, () => this.#listen(stop.signal, true)).catch(() => undefined);
    } else {
      void this.#listen(stop.signal, false);
    }
  }

  /** Hears no more. */
  stop(): void {
    this.#stop?.abort();
    this.#stop = null;
    this.#channel?.close();
    this.#channel = null;
    this.connected = false;
    this.#leads = false;
  }

  #listen(signal: AbortSignal, tell: boolean): Promise<void> {
    this.#leads = true;
    return new Promise((done) => {
      const source = new EventSource(`/v1/events?topics=${TOPICS.join(',')}`);
      const pass = (told: Told): void => {
        this.#take(told);
        if (tell) this.#channel?.postMessage(told);
      };
      source.onopen = () => pass({ topic: 'state', text: 'true' });
      source.onerror = () => pass({ topic: 'state', text: 'false' });
      for (const topic of TOPICS) {
        source.addEventListener(topic, (event) => pass({ topic, text: (event as MessageEvent<string>).data }));
      }
      signal.addEventListener('abort', () => {
        source.close();
        done();
      });
    });
  }

  #take({ topic, text }: Told): void {
    this.connected = topic === 'state' ? text === 'true' : true;
    if (topic === 'state' || topic === 'hello') return;
    const event = parse(text) as { data: unknown };
    if (topic === 'streams') {
      const state = event.data as StreamState;
      this.streams = { ...this.streams, [state.stream.domain]: state };
    } else if (topic === 'operations') {
      const operation = event.data as Operation;
      this.operations = { ...this.operations, [operation.operation_id]: operation };
    } else {
      this.gates++;
    }
  }
}

/** The one listener. */
export const live = new Live();
