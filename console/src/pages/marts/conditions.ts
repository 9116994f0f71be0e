/** Conditions, order and columns of the rows of a mart, kept in the address under the words of the API. */
import { router } from '../../lib/router.svelte';

/** Operators, in the order in which they are offered. */
export const OPERATORS = ['eq', 'neq', 'gt', 'gte', 'lt', 'lte', 'contains', 'in', 'is'] as const;
export type Operator = (typeof OPERATORS)[number];

/** A condition on a column. */
export interface Condition {
  column: string;
  operator: Operator;
  value: string;
}

const OTHERS = ['domain', 'order', 'since', 'cursor'];

/** The conditions of the address. */
export function conditions(): Condition[] {
  return Object.entries(router.all())
    .filter(([name]) => !OTHERS.includes(name))
    .map(([column, text]) => {
      const dot = text.indexOf('.');
      const operator = OPERATORS.find((one) => one === text.slice(0, dot)) ?? 'eq';
      return { column, operator, value: text.slice(dot + 1).replace(/^\((.*)\)$/s, '$1') };
    });
}

/** A condition as the API reads it. */
export function written({ operator, value }: Condition): string {
  if (operator === 'is') return 'is.null';
  return operator === 'in' ? `in.(${value})` : `${operator}.${value}`;
}

/** Parameters of the query for rows. */
export function query(): Record<string, string> {
  const found: Record<string, string> = { order: router.get('order') };
  for (const condition of conditions()) found[condition.column] = written(condition);
  return found;
}

/** Column and direction that rows are sorted by. */
export function order(): { column: string; descending: boolean } | null {
  const [first] = router.list('order');
  if (!first) return null;
  return { column: first.replace(/\.(asc|desc)$/, ''), descending: first.endsWith('.desc') };
}

/** Sorts by a column, or the other way round. */
export function sort(column: string): void {
  const now = order();
  const next = now?.column === column ? (now.descending ? '' : `${column}.desc`) : `${column}.asc`;
  router.set({ order: next });
}
