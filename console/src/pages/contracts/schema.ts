/** A JSON Schema as rows of a table. */

interface Schema {
  type?: string | string[];
  format?: string;
  enum?: unknown[];
  const?: unknown;
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  $ref?: string;
  $defs?: Record<string, Schema>;
  anyOf?: Schema[];
  oneOf?: Schema[];
  [other: string]: unknown;
}

/** A field of a message. */
export interface FieldRow {
  name: string;
  type: string;
  required: boolean;
  about: string;
  rules: string[];
}

const LIMITS: [string, string][] = [
  ['minimum', '≥'], ['exclusiveMinimum', '>'], ['maximum', '≤'], ['exclusiveMaximum', '<'],
  ['minLength', 'length ≥'], ['maxLength', 'length ≤'], ['multipleOf', 'multiple of'], ['pattern', 'pattern'],
  ['minItems', 'items ≥'], ['maxItems', 'items ≤'],
];

/** The fields, those of nested objects under their parent with a dot between. */
export function fieldsOf(root: unknown): FieldRow[] {
  const top = root as Schema;
  const rows: FieldRow[] = [];
  const resolve = (schema: Schema): Schema => {
    if (schema.$ref?.startsWith('#/$defs/')) return { ...top.$defs?.[schema.$ref.slice(8)], ...schema, $ref: undefined };
    const options = (schema.anyOf ?? schema.oneOf)?.filter((one) => one.type !== 'null');
    return options?.length === 1 && options[0] ? { ...resolve(options[0]), ...schema, anyOf: undefined, oneOf: undefined } : schema;
  };
  const walk = (schema: Schema, prefix: string, depth: number): void => {
    for (const [name, raw] of Object.entries(schema.properties ?? {})) {
      const field = resolve(raw);
      const types = [field.type ?? ''].flat().filter((one) => one !== 'null' && one !== '');
      const rules = LIMITS.filter(([key]) => field[key] !== undefined).map(([key, sign]) => `${sign} ${String(field[key])}`);
      if (field.enum) rules.push(field.enum.filter((one) => one !== null).join(' | '));
      if (field.const !== undefined) rules.push(`= ${String(field.const)}`);
      const own = field['x-acequia-rule'];
      for (const rule of Array.isArray(own) ? own : own === undefined ? [] : [own]) rules.push(typeof rule === 'string' ? rule : JSON.stringify(rule));
      rows.push({
        name: prefix + name,
        type: [types.join(' | '), field.format].filter(Boolean).join(', '),
        required: schema.required?.includes(name) ?? false,
        about: field.description ?? '',
        rules,
      });
      if (depth < 4) {
        if (field.properties) walk(field, `${prefix}${name}.`, depth + 1);
        else if (field.items) {
          const items = resolve(field.items);
          if (items.properties) walk(items, `${prefix}${name}[].`, depth + 1);
        }
      }
    }
  };
  walk(resolve(top), '', 0);
  return rows;
}
