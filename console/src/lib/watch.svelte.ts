/** What the platform knows about itself now: for the dots of the navigation and the overview. */
import type { Account, Freshness, Problem, QuarantineGroup, Rule, Stream } from '../api/schema';
import { get, problemOf } from '../api/client';
import { live } from './live.svelte';

/** Streams come by events; the rest is asked for at this pace. */
const EVERY_MS = 30_000;

class Watch {
  #streams = $state.raw<Stream[]>([]);
  #accounts = $state.raw<Account[]>([]);
  freshness = $state.raw<Freshness[]>([]);
  rules = $state.raw<Rule[]>([]);
  groups = $state.raw<QuarantineGroup[]>([]);
  problem = $state.raw<Problem | undefined>(undefined);
  /** Whether the first answers have come. */
  known = $state(false);
  #timer: ReturnType<typeof setInterval> | undefined;

  /** Streams, in the order of the first answer: rows do not change places. */
  streams = $derived(this.#streams.map((stream) => live.streams[stream.domain]?.stream ?? stream));

  /** Accounts, likewise; an entity that is new comes last in its domain. */
  accounts = $derived.by(() => {
    const domains = [...new Set([...this.#accounts.map((one) => one.domain), ...Object.keys(live.streams)])];
    return domains.flatMap((domain) => {
      const before = this.#accounts.filter((one) => one.domain === domain);
      const now = live.streams[domain]?.accounts;
      if (!now) return before;
      const known = before.map((one) => now.find((other) => other.entity === one.entity) ?? one);
      return [...known, ...now.filter((one) => !before.some((other) => other.entity === one.entity))];
    });
  });

  /** Looks now and then until {@link stop}. */
  start(): void {
    void this.look();
    this.#timer ??= setInterval(() => {
      if (document.visibilityState === 'visible') void this.look();
    }, EVERY_MS);
  }

  /** Looks no more and forgets what was seen. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.known = false;
  }

  /** Looks once. */
  async look(): Promise<void> {
    try {
      const [streams, accounts, freshness, rules, groups] = await Promise.all([
        get('/v1/streams'),
        get('/v1/reconciliation'),
        get('/v1/freshness'),
        get('/v1/dq/rules'),
        get('/v1/quarantine/groups', { query: { status: 'open' } }),
      ]);
      this.#streams = streams.items;
      this.#accounts = accounts.items;
      this.freshness = freshness.items;
      this.rules = rules.items;
      this.groups = groups.items;
      this.problem = undefined;
      this.known = true;
    } catch (error) {
      this.problem = problemOf(error);
    }
  }
}

/** The one watch. */
export const watch = new Watch();
