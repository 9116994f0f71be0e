/** Numbers and times for people. */
import { Exact } from './exact';
import { settings } from './settings.svelte';

const whole = { en: new Intl.NumberFormat('en'), es: new Intl.NumberFormat('es', { useGrouping: 'always' }) };

/** A count with thousands apart. */
export function count(n: number | null | undefined): string {
  return n === null || n === undefined ? '' : whole[settings.lang].format(n);
}

/**
 * A number from its text: thousands apart and the decimal sign of the language, every digit kept. Years and ids are
 * better not grouped: give `group` false.
 */
export function decimal(value: number | Exact, group = true): string {
  const text = String(value);
  const parts = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text);
  if (!parts) return text;
  const [, sign, integer, fraction] = parts;
  const [thousand, point] = settings.lang === 'es' ? ['.', ','] : [',', '.'];
  const grouped = group ? (integer ?? '').replace(/\B(?=(\d{3})+(?!\d))/g, thousand) : integer;
  return `${sign === '-' ? '−' : ''}${grouped}${fraction === undefined ? '' : point + fraction}`;
}

/** A rate with as many decimals as it needs to differ from 0. */
export function rate(perSecond: number): string {
  const value = Number(perSecond);
  const digits = value === 0 || value >= 10 ? 0 : value >= 0.1 ? 1 : 2;
  return new Intl.NumberFormat(settings.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

/** A span of seconds in its two largest units. */
export function span(seconds: number): string {
  const s = Math.max(0, Number(seconds));
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s < 10 ? rate(Math.round(s * 10) / 10) : Math.round(s)} s`;
  const units: [number, string][] = [[86_400, 'd'], [3_600, 'h'], [60, 'min'], [1, 's']];
  const first = units.findIndex(([size]) => s >= size);
  const [size, name] = units[first] as [number, string];
  const next = units[first + 1];
  const rest = next ? Math.floor((s % size) / next[0]) : 0;
  return `${Math.floor(s / size)} ${name}${next && rest > 0 ? ` ${rest} ${next[1]}` : ''}`;
}

/** Bytes in binary units. */
export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined) return '';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = n < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(n) / 10));
  const value = n / 1024 ** power;
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}

/** An instant with date, time to the second, and zone. */
export function absolute(iso: string): string {
  const at = new Date(iso);
  return Number.isNaN(at.getTime()) ? iso : new Intl.DateTimeFormat(settings.lang, { dateStyle: 'medium', timeStyle: 'long' }).format(at);
}

/** How long ago, or in how long. */
export function relative(iso: string, now: number): string {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  if (Number.isNaN(seconds)) return iso;
  const format = new Intl.RelativeTimeFormat(settings.lang, { numeric: 'always', style: 'short' });
  const size = Math.abs(seconds);
  // Clocks differ a little: what is just over is the present.
  if (size < 3) return new Intl.RelativeTimeFormat(settings.lang, { numeric: 'auto' }).format(0, 'second');
  if (size < 60) return format.format(Math.round(seconds), 'second');
  if (size < 3_600) return format.format(Math.round(seconds / 60), 'minute');
  if (size < 86_400) return format.format(Math.round(seconds / 3_600), 'hour');
  if (size < 86_400 * 60) return format.format(Math.round(seconds / 86_400), 'day');
  return new Intl.DateTimeFormat(settings.lang, { dateStyle: 'medium' }).format(new Date(iso));
}
