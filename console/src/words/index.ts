/** One typed dictionary: a sentence that is missing in one language is an error of compilation. */
import { settings } from '../lib/settings.svelte';
import * as common from './common';
import * as data from './data';
import * as overview from './overview';
import * as platform from './platform';
import * as quarantine from './quarantine';
import * as trace from './trace';

const en = { ...common.en, ...data.en, ...overview.en, ...platform.en, ...quarantine.en, ...trace.en };
const es: typeof en = { ...common.es, ...data.es, ...overview.es, ...platform.es, ...quarantine.es, ...trace.es };

/** The words of the language that is chosen. Read it inside a component, so that a change shows at once. */
export function words(): typeof en {
  return settings.lang === 'es' ? es : en;
}

/** A word of a closed list (state, outcome, role), or the word itself where the list does not know it. */
export function term(list: 'status' | 'outcome' | 'marts_status' | 'gate' | 'stage' | 'role' | 'action' | 'state' | 'archive_state', word: string): string {
  const terms: Record<string, string> = words().terms[list];
  return terms[word] ?? word.replaceAll('_', ' ');
}
