import { mutatedJson, type Random } from '@tidemark/testing';

type Schema = Readonly<Record<string, unknown>>;

interface Operation {
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
}

export interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

export interface Route {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

/** What the API says that it has, without the prefix of its version. */
export const routesOf = (api: OpenApi): Route[] =>
  Object.entries(api.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path: path.replace(/^\/v1/, ''), operation })));

const ODD_SEGMENTS = [
  '..', '%2e%2e%2f%2e%2e%2fetc%2fpasswd', '%00', "' OR 1=1 --", '$(reboot)', '%0d%0aSet-Cookie:x', '__proto__', 'constructor', '-1', '9'.repeat(30), 'x'.repeat(900), '%f0%9f%92%a9', '%c0%ae', 'null', '[object Object]', '\u202e', ';',
  '00000000-0000-0000-0000-000000000000',
];
const QUERY_NAMES = ['startDate', 'endDate', 'startDate', 'endDate', 'status', 'level', 'status', 'level', 'entity', 'type', 'name', 'vpgName', 'siteIdentifier', 'vmName', 'priority', 'isDismissed', 'page', '__proto__', 'level[]'];
const ODD_VALUES = ['', '9999999-99', '2026-13-45', '999', '-1', '1e9', '%27'.repeat(300), '%00', '%ff', 'true', 'x&level=1&level=2', '2026-11-22T00:00Z'];

/** Ids that exist, by the name that they have in paths. */
export type KnownIds = Readonly<Record<string, readonly string[]>>;

export interface FuzzedRequest {
  readonly method: string;
  readonly path: string;
  readonly text: string | undefined;
}

/** One request to a route: its path with known or odd ids, an odd query now and then, its body valid in shape, damaged, or nonsense. */
export function fuzzedRequest({ method, path, operation }: Route, { api, known, random }: { readonly api: OpenApi; readonly known: KnownIds; readonly random: Random }): FuzzedRequest {
  const ids = Object.values(known).flat();
  const segment = (name: string): string => (random.chance(0.7) ? random.pick(known[name] ?? ids) : random.pick(random.chance(0.3) ? ids : ODD_SEGMENTS));
  const named = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeOdd(segment(name)));
  const query = random.chance(method === 'GET' ? 0.7 : 0.1) ? `?${random.pick(QUERY_NAMES)}=${random.pick(ODD_VALUES)}&${random.pick(QUERY_NAMES)}=${random.pick(ODD_VALUES)}` : '';
  const schema = Object.values(operation.requestBody?.content ?? {})[0]?.schema;
  if (method === 'GET') return { method, path: named + query, text: undefined };
  if (schema === undefined || random.chance(0.05)) return { method, path: named + query, text: random.chance(0.1) ? undefined : random.pick(['{}', '[]', 'null', '{"a":', '"x"', '['.repeat(5000), '{"__proto__":{"isAdmin":true}}']) };
  const sample = sampleOf(schema, { api, ids, random, depth: 0 });
  return { method, path: named + query, text: random.chance(0.6) ? JSON.stringify(sample) : mutatedJson(sample, random) };
}

/** Percent signs that are there stay: some of these are encoded badly on purpose. Node's own client refuses what is not ASCII. */
const encodeOdd = (text: string): string => text.replaceAll(/[^\x21-\x7e]/g, (character) => encodeURIComponent(character)).replaceAll('?', '%3f').replaceAll('#', '%23');

interface Sampling {
  readonly api: OpenApi;
  readonly ids: readonly string[];
  readonly random: Random;
  readonly depth: number;
}

function sampleOf(schema: Schema, sampling: Sampling): unknown {
  const { api, ids, random, depth } = sampling;
  if (depth > 8) return null;
  const inner = (of: unknown): unknown => sampleOf(of as Schema, { ...sampling, depth: depth + 1 });
  const ref = schema['$ref'] ?? (schema['allOf'] as readonly Schema[] | undefined)?.[0]?.['$ref'];
  if (typeof ref === 'string') return inner(api.components.schemas[ref.split('/').pop() ?? ''] ?? {});
  const choices = schema['oneOf'] ?? schema['anyOf'];
  if (Array.isArray(choices)) return inner(random.pick(choices));
  if (Array.isArray(schema['enum'])) return random.pick(schema['enum'] as unknown[]);
  switch (schema['type']) {
    case 'string': return random.chance(0.8) ? random.pick(random.chance(0.5) ? ids : ['text', '12:00']) : random.pick(['text', '', '<script>alert(1)</script>', 'a\u001b[2Jb', "'; DROP TABLE vpgs; --", '../../etc/passwd', '12:00', '2026-11-22T00:00:00Z', '10.0.0.1']);
    case 'integer': return random.chance(0.8) ? random.pick([1, 2, 24, 300]) : random.pick([0, 3600, 65_535, -1, 2 ** 31]);
    case 'number': return random.pick([0, 0.5, 10, 1e12, -1]);
    case 'boolean': return random.chance(0.5);
    case 'array': return Array.from({ length: random.int(3) }, () => inner(schema['items'] ?? {}));
    default: return Object.fromEntries(Object.entries((schema['properties'] as Record<string, unknown> | undefined) ?? {}).filter(() => random.chance(0.3)).map(([key, of]) => [key, inner(of)]));
  }
}
