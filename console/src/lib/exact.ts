/**
 * JSON without losing a digit.
 *
 * A number stays a JavaScript number only where writing it again gives the very same text; every other one (`8.750`,
 * `12345678901234567890`) becomes an {@link Exact}, which holds the text.
 */

/** A number as it stands in the text. */
export class Exact {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
  /** For comparisons and bars only: digits may be lost. */
  valueOf(): number {
    return Number(this.text);
  }
  toJSON(): unknown {
    const raw = (JSON as unknown as { rawJSON?: (text: string) => unknown }).rawJSON;
    return raw ? raw(this.text) : Number(this.text);
  }
}

type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;

const keep: Reviver = (_, value, context) => {
  if (typeof value !== 'number' || context?.source === undefined) return value;
  return String(value) === context.source ? value : new Exact(context.source);
};

/** Parses `text`; throws a SyntaxError as JSON.parse does. */
export function parse(text: string): unknown {
  return (JSON.parse as (text: string, reviver: Reviver) => unknown)(text, keep);
}

/** One line of a body that is laid out for reading. */
export interface Line {
  depth: number;
  text: string;
  /** Path of the value that begins in it, with dots between levels. */
  path: string;
}

/**
 * Lays JSON out, a value a line, with the tokens as they stand in the text: no digit, escape or repeated key is lost.
 * Null where the text is no JSON.
 */
export function layOut(text: string): Line[] | null {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/gs);
  if (!tokens) return null;
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  const lines: Line[] = [];
  let at = 0;
  const value = (path: string, depth: number, head: string): void => {
    const token = tokens[at++] ?? '';
    if (token !== '{' && token !== '[') {
      lines.push({ depth, text: head + token, path });
      return;
    }
    const end = token === '{' ? '}' : ']';
    if (tokens[at] === end) {
      at++;
      lines.push({ depth, text: head + token + end, path });
      return;
    }
    lines.push({ depth, text: head + token, path });
    for (let index = 0; ; index++) {
      if (token === '{') {
        const key = tokens[at] ?? '""';
        at += 2;
        value(join(path, JSON.parse(key) as string), depth + 1, `${key}: `);
      } else {
        value(`${path}[${index}]`, depth + 1, '');
      }
      if (tokens[at++] === end) break;
      const last = lines[lines.length - 1];
      if (last) last.text += ',';
    }
    lines.push({ depth, text: end, path: '' });
  };
  value('', 0, '');
  return lines;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** The same, as text to be edited. */
export function pretty(text: string): string {
  const lines = layOut(text);
  return lines ? lines.map((line) => '  '.repeat(line.depth) + line.text).join('\n') : text;
}
