/** Calls of the API, typed by its OpenAPI document (`schema.d.ts` is made from it: `npm run api`). */
import type { paths, Problem } from './schema';
import { parse } from '../lib/exact';

type Routes<M extends string> = {
  [P in keyof paths]: paths[P] extends Record<M, infer O> ? (O extends { responses: unknown } ? P : never) : never;
}[keyof paths];
type At<P extends keyof paths, M extends string> = M extends keyof paths[P] ? paths[P][M] : never;
type Params<O, K extends string> = O extends { parameters: Record<K, infer Q> } ? Q : undefined;
type Optional<O, K extends string> = O extends { parameters: { [key in K]?: infer Q } } ? Q : undefined;
type Body<O> = O extends { requestBody: { content: { 'application/json': infer B } } } ? B : unknown;
type Content<R> = R extends { content: { 'application/json': infer C } } ? C : never;
type Ok<O> = O extends { responses: infer R } ? { [S in keyof R & (200 | 201 | 202)]: Content<R[S]> }[keyof R & (200 | 201 | 202)] : never;

/** Values of a query. Lists are joined by commas; undefined and empty ones are left out. */
export type Query = Record<string, string | number | boolean | readonly string[] | null | undefined>;

interface Options<O> {
  /** `ETag` of the row that is edited, as {@link getTagged} gave it. */
  ifMatch?: string;
  path?: Params<O, 'path'>;
  query?: Query & Partial<Record<keyof NonNullable<Optional<O, 'query'>> & string, unknown>>;
  signal?: AbortSignal;
}

/** An answer that is no success, with what to do. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** What a failure of any kind says: an answer of the API, or that none came. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Refused) return error.problem;
  const detail = error instanceof Error ? error.message : String(error);
  return { type: 'about:blank', title: '', status: 0, code: 'no_answer', detail, instance: '', errors: [] };
}

let onUnauthenticated: () => void = () => undefined;
/** What happens when the session has ended. */
export function whenUnauthenticated(act: () => void): void {
  onUnauthenticated = act;
}

/** Path and query of a call. A slash inside `key` separates its parts and stays one. */
export function address(template: string, path: Record<string, unknown> = {}, query: Query = {}): string {
  const filled = template.replace(/\{(\w+)\}/g, (_, name: string) => {
    const text = String(path[name] ?? '');
    return name === 'key' ? text.split('/').map(encodeURIComponent).join('/') : encodeURIComponent(text);
  });
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === '') continue;
    const text = Array.isArray(value) ? value.join(',') : String(value);
    if (text !== '') search.set(name, text);
  }
  return search.size > 0 ? `${filled}?${search}` : filled;
}

/** Sends a call and reads its answer without losing a digit; throws {@link Refused}. */
export async function call(method: string, url: string, init: RequestInit = {}): Promise<{ status: number; body: unknown; etag: string }> {
  const response = await fetch(url, { ...init, method, credentials: 'same-origin' });
  const text = await response.text();
  const type = response.headers.get('content-type') ?? '';
  let body: unknown = null;
  if (text !== '' && type.includes('json')) body = parse(text);
  if (!response.ok) {
    if (response.status === 401 && url !== '/v1/session') onUnauthenticated();
    if (body && typeof body === 'object' && 'code' in body) throw new Refused(body as Problem);
    throw new Error(`HTTP ${response.status}`);
  }
  return { status: response.status, body, etag: response.headers.get('etag') ?? '' };
}

/** GET. */
export async function get<P extends Routes<'get'>>(route: P, options: Options<At<P, 'get'>> = {}): Promise<Ok<At<P, 'get'>>> {
  return (await getTagged(route, options)).value;
}

/** GET of a row that may be edited, with the `ETag` of its state. */
export async function getTagged<P extends Routes<'get'>>(
  route: P,
  options: Options<At<P, 'get'>> = {},
): Promise<{ value: Ok<At<P, 'get'>>; etag: string }> {
  const url = address(route, options.path as Record<string, unknown>, options.query as Query);
  const { body, etag } = await call('GET', url, { signal: options.signal, headers: { accept: 'application/json, application/schema+json' } });
  return { value: body as Ok<At<P, 'get'>>, etag };
}

/** POST with a JSON body. */
export async function post<P extends Routes<'post'>>(
  route: P,
  body: Body<At<P, 'post'>>,
  options: Options<At<P, 'post'>> = {},
): Promise<Ok<At<P, 'post'>>> {
  const url = address(route, options.path as Record<string, unknown>, options.query as Query);
  return (await postText(url, JSON.stringify(body), options.ifMatch)) as Ok<At<P, 'post'>>;
}

/** POST of a body that is JSON text already and must go out byte for byte. */
export async function postText(url: string, text: string, ifMatch?: string): Promise<unknown> {
  const headers = { 'content-type': 'application/json', accept: 'application/json', ...(ifMatch && { 'if-match': ifMatch }) };
  return (await call('POST', url, { body: text, headers })).body;
}

/** DELETE. */
export async function remove<P extends Routes<'delete'>>(route: P, options: Options<At<P, 'delete'>> = {}): Promise<void> {
  await call('DELETE', address(route, options.path as Record<string, unknown>));
}
