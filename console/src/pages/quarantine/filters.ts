/** Filters of the quarantine: the words of the API, kept in the address. */
import type { QuarantineFilter } from '../../api/schema';
import { router } from '../../lib/router.svelte';

const LISTS = ['domain', 'entity', 'stage', 'code', 'field', 'status', 'fingerprint', 'app_id', 'id'] as const;
const TEXTS = ['since', 'until', 'contains'] as const;

/** As parameters of a query. */
export function query(): Record<string, string> {
  return Object.fromEntries([...LISTS, ...TEXTS].map((name) => [name, router.get(name)]));
}

/** As the filter of an action. */
export function filter(): QuarantineFilter {
  const found: Record<string, unknown> = {};
  for (const name of LISTS) if (router.get(name) !== '') found[name] = router.list(name);
  for (const name of TEXTS) if (router.get(name) !== '') found[name] = router.get(name);
  return found as QuarantineFilter;
}

/** Whether anything but the domain is chosen. */
export function filtered(): boolean {
  return [...LISTS, ...TEXTS].some((name) => name !== 'domain' && router.get(name) !== '');
}

/** Takes every filter of this page away. */
export function clear(): void {
  router.set(Object.fromEntries([...LISTS, ...TEXTS].filter((name) => name !== 'domain').map((name) => [name, ''])));
}
