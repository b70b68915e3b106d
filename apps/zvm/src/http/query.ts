import { type Enumeration, parseEnumeration } from '@tidemark/contracts';
import { invalid } from '../errors.js';

/** Query parameters of list requests: filters AND together, values in any letter case. */
export type Query = Readonly<Record<string, string | string[] | undefined>>;

/** Parameter names are matched in any letter case, as paths are. @throws ZvmError ZVM_INVALID for text that no database takes */
export function param(query: Query, name: string): string | undefined {
  const key = Object.keys(query).find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  const value = key === undefined ? undefined : query[key];
  const text = Array.isArray(value) ? value[0] : value;
  if (text === undefined || text === '') return undefined;
  if (text.includes('\0') || !text.isWellFormed()) throw invalid(`${name}: this is no Unicode text`);
  return text;
}

/** True if the parameter is absent or equals `actual`. */
export function matches(query: Query, name: string, actual: string | null | undefined): boolean {
  const wanted = param(query, name);
  return wanted === undefined || wanted.toLowerCase() === (actual ?? '').toLowerCase();
}

/** Number or name of an enumeration. @throws ZvmError ZVM_INVALID */
export function choice<Name extends string>(query: Query, name: string, of: Enumeration<Name>): Name | undefined {
  const wanted = param(query, name);
  if (wanted === undefined) return undefined;
  const found = parseEnumeration(of, wanted);
  if (found === undefined) throw invalid(`${name}: '${wanted}' is not one of ${of.names.join(', ')}`);
  return found;
}

/** `yyyy`, `yyyy-MM`, `yyyy-MM-dd`, `…THH[:mm[:ss[.fff]]]`, suffix Z: UTC, else the ZVM's local time. @throws ZvmError ZVM_INVALID */
export function instant(query: Query, name: string): number | undefined {
  const wanted = param(query, name);
  if (wanted === undefined) return undefined;
  const parts = /^(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,3}))?)?)?)?)?)?(Z)?$/i.exec(wanted);
  if (!parts) throw invalid(`${name}: '${wanted}' is not a date; write yyyy-MM-ddTHH:mm:ssZ or a part of it`);
  const [year, month, day, hour, minute, second] = [1, 2, 3, 4, 5, 6].map((at) => (parts[at] === undefined ? undefined : Number(parts[at])));
  const fields = [year ?? 0, (month ?? 1) - 1, day ?? 1, hour ?? 0, minute ?? 0, second ?? 0, Number((parts[7] ?? '0').padEnd(3, '0'))] as const;
  return parts[8] === undefined ? new Date(...fields).getTime() : Date.UTC(...fields);
}
