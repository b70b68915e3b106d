/** Deeper bodies are refused: nothing in this API nests beyond 7. */
const DEPTH_MAX = 16;

/** Spellings in use for one field. */
const ALIASES: Readonly<Record<string, string>> = { MemoryInGB: 'MemoryInGb', VCD: 'Vcd', IPConfig: 'IpConfig' };

export class TooDeepError extends Error {
  override readonly name = 'TooDeepError';
}

/** `rpoInSeconds` → `RpoInSeconds`, at every depth; other values unchanged. Throws {@link TooDeepError} beyond 16 levels. */
export const toPascalKeys = (value: unknown): unknown => renamed(value, pascalKey, 0);

/** `RpoInSeconds` → `rpoInSeconds`: from the REST form of VPG settings to that of `@tidemark/vpg`. */
export const toCamelKeys = (value: unknown): unknown => renamed(value, camelKey, 0);

function renamed(value: unknown, rename: (key: string) => string, depth: number): unknown {
  if (depth > DEPTH_MAX) throw new TooDeepError('the body is nested too deeply');
  if (Array.isArray(value)) return value.map((item) => renamed(item, rename, depth + 1));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [rename(key), renamed(item, rename, depth + 1)]));
}

function pascalKey(key: string): string {
  const pascal = key.charAt(0).toUpperCase() + key.slice(1);
  return ALIASES[pascal] ?? pascal;
}

const camelKey = (key: string): string => key.charAt(0).toLowerCase() + key.slice(1);
