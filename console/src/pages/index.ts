/** The pages and their addresses. */
import type { Component } from 'svelte';
import type { Right } from '../lib/session.svelte';
import Access from './Access.svelte';
import Archive from './Archive.svelte';
import Audit from './Audit.svelte';
import Contracts from './contracts/Contracts.svelte';
import Marts from './marts/Marts.svelte';
import Operations from './Operations.svelte';
import Overview from './Overview.svelte';
import Quality from './Quality.svelte';
import Quarantine from './quarantine/Quarantine.svelte';
import Streams from './Streams.svelte';
import Trace from './trace/Trace.svelte';

/** A page. */
export interface Page {
  name: 'overview' | 'quarantine' | 'trace' | 'marts' | 'quality' | 'contracts' | 'streams' | 'archive' | 'operations' | 'audit' | 'access';
  path: string;
  group: 'watch' | 'data' | 'platform';
  component: Component;
  /** Whether the time range of the bar is for it. */
  ranged?: boolean;
  /** Without it the page is not in the navigation. */
  right?: Right;
}

/** In the order of the navigation. */
export const pages: Page[] = [
  { name: 'overview', path: '/', group: 'watch', component: Overview },
  { name: 'quarantine', path: '/quarantine', group: 'watch', component: Quarantine, ranged: true },
  { name: 'trace', path: '/trace', group: 'watch', component: Trace },
  { name: 'streams', path: '/streams', group: 'watch', component: Streams },
  { name: 'marts', path: '/marts', group: 'data', component: Marts },
  { name: 'quality', path: '/quality', group: 'data', component: Quality, ranged: true },
  { name: 'contracts', path: '/contracts', group: 'data', component: Contracts },
  { name: 'operations', path: '/operations', group: 'platform', component: Operations },
  { name: 'archive', path: '/archive', group: 'platform', component: Archive },
  { name: 'audit', path: '/audit', group: 'platform', component: Audit, right: 'operate' },
  { name: 'access', path: '/access', group: 'platform', component: Access, right: 'administer' },
];

/** The page of an address. */
export function pageOf(parts: string[]): Page | undefined {
  return pages.find((page) => page.path === `/${parts[0] ?? ''}`);
}
