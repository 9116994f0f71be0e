/** What is wrong now, with a way to its cause. */
import type { Tone } from '../parts/Sign.svelte';
import { term, words } from '../words';
import { count, span } from './format';
import { router } from './router.svelte';
import { watch } from './watch.svelte';

/** Something that a person should look at. */
export interface Wrong {
  key: string;
  tone: Tone;
  domain: string;
  /** Page whose entry in the navigation gets a dot. */
  page: string;
  title: string;
  help: string;
  href: string;
}

/** Seconds of backlog from which a stream counts as late. */
const LATE_S = 60;

/** Everything that is wrong in the domains that are chosen, the worst first. */
export function wrongNow(domains: string[]): Wrong[] {
  const w = words().overview;
  const found: Wrong[] = [];
  const within = (domain: string): boolean => domains.length === 0 || domains.includes(domain);

  for (const one of watch.accounts.filter((one) => within(one.domain) && one.unaccounted !== 0)) {
    const name = `${one.domain}.${one.entity}`;
    found.push({
      key: `account ${name}`, tone: 'bad', domain: one.domain, page: '/', help: w.unaccounted_help,
      title: `${w.unaccounted(one.unaccounted, count(one.unaccounted))}: ${name}`, href: router.to('/', { domain: one.domain }),
    });
  }
  for (const one of watch.streams.filter((one) => within(one.domain))) {
    const base = { domain: one.domain, page: '/streams', href: router.to('/streams') };
    if (one.paused_at) {
      const help = w.paused_help(one.paused_by ?? '', one.pause_reason ?? '');
      found.push({ ...base, key: `paused ${one.domain}`, tone: 'warning', title: w.paused, help });
    } else if (one.observed_at === null || one.observed_at === undefined) {
      found.push({ ...base, key: `unseen ${one.domain}`, tone: 'unknown', title: w.unseen, help: w.unseen_help });
    } else if (one.consumers === 0) {
      found.push({ ...base, key: `consumer ${one.domain}`, tone: 'bad', title: w.no_consumer, help: w.no_consumer_help });
    } else if (Number(one.backlog_s ?? 0) > LATE_S) {
      found.push({ ...base, key: `backlog ${one.domain}`, tone: 'warning', title: w.backlog(span(one.backlog_s ?? 0)), help: w.backlog_help });
    }
  }
  for (const one of watch.rules.filter((one) => within(one.domain) && one.enabled && ['warn', 'fail', 'error'].includes(one.outcome))) {
    found.push({
      key: `rule ${one.rule}`, tone: one.severity === 'error' ? 'bad' : 'warning', domain: one.domain, page: '/quality',
      title: w.rule(one.rule), help: one.remedy, href: router.to('/quality', { rule: one.rule }),
    });
  }
  for (const one of watch.freshness.filter((one) => within(one.domain) && ['late', 'blocked', 'untrusted'].includes(one.status))) {
    found.push({
      key: `mart ${one.mart}`, tone: one.status === 'late' ? 'warning' : 'bad', domain: one.domain, page: '/marts',
      title: w.mart(one.mart, term('marts_status', one.status)), help: one.blocking_rules.join(', '),
      href: router.to(`/marts/${one.mart.replace(/^marts\./, '')}`),
    });
  }
  for (const domain of new Set(watch.groups.map((one) => one.domain))) {
    const groups = watch.groups.filter((one) => one.domain === domain);
    const open = watch.streams.find((one) => one.domain === domain)?.quarantine_open ?? groups.reduce((sum, one) => sum + one.open, 0);
    const first = groups[0];
    if (!within(domain) || open === 0 || !first) continue;
    found.push({
      key: `quarantine ${domain}`, tone: 'warning', domain, page: '/quarantine', title: w.quarantine(open, count(open)),
      help: w.quarantine_help(`${first.code}${first.field_path ? ` (${first.field_path})` : ''}`),
      href: router.to('/quarantine', { domain, status: 'open' }),
    });
  }
  const order: Tone[] = ['bad', 'warning', 'unknown', 'neutral', 'good'];
  return found.sort((a, b) => order.indexOf(a.tone) - order.indexOf(b.tone));
}
