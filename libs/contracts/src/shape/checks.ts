/** Says whether a value is what a message may carry in that place. */
export interface Check {
  (value: unknown): boolean;
  /** Of a value that passed: a copy of what the check knows, without anything else that came along. Absent: the value has no parts. */
  readonly known?: (value: unknown) => unknown;
}
/** A check for every field, so that a field that is added to a message does not compile until it is looked at. */
export type Shape<T> = { readonly [K in keyof Required<T>]: Check };

/** The last instant that a Date can hold. */
const INSTANT_MS_MAX = 8.64e15;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Not finite numbers travel as null in JSON: what is measured may be unknown for a moment, and arithmetic takes it. */
export const number: Check = (value) => value === null || typeof value === 'number';
export const whole: Check = (value) => Number.isSafeInteger(value);
/** Ids of checkpoints, sizes: never below `min`. */
export const wholeFrom = (min: number): Check => (value) => whole(value) && (value as number) >= min;
/** As the database counts: more than this fails far from here. */
export const count: Check = (value) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 2_147_483_647;
export const flag: Check = (value) => typeof value === 'boolean';
/** Ms since 1970 that can be shown as a date. */
export const instant: Check = (value) => typeof value === 'number' && value >= 0 && value <= INSTANT_MS_MAX;
/** Without U+0000, which PostgreSQL stores nowhere: such a text would fail far from here, at whoever writes it down. */
export const text = (lengthMax: number): Check => (value) => typeof value === 'string' && value.length <= lengthMax && !value.includes('\0');
export const uuid: Check = (value) => typeof value === 'string' && value.length === 36 && UUID.test(value);
export const oneOf = (...names: readonly unknown[]): Check => (value) => names.includes(value);
export const orNull = (check: Check): Check => either(check, null);
export const orAbsent = (check: Check): Check => either(check, undefined);
export const list = (check: Check, countMax: number): Check =>
  knowing((value) => Array.isArray(value) && value.length <= countMax && value.every((item) => check(item)), (value) => (value as readonly unknown[]).map((item) => knownOf(check, item)));

export function shaped<T>(shape: Shape<T>): Check {
  // Once, not for each of the tens of thousands of values that a heartbeat has.
  const [names, checks] = [Object.keys(shape), Object.values<Check>(shape)];
  const isOne = (value: unknown): boolean => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    const found = value as Readonly<Record<string, unknown>>;
    return names.every((name, index) => checks[index]?.(found[name]) === true);
  };
  return knowing(isOne, (value) => {
    const found = value as Readonly<Record<string, unknown>>;
    const copy: Record<string, unknown> = {};
    names.forEach((name, index) => {
      const check = checks[index];
      if (check !== undefined && found[name] !== undefined) copy[name] = knownOf(check, found[name]);
    });
    return copy;
  });
}

/** What the check knows of a value that has passed it: fields that nobody asked for are not kept. */
export const knownOf = (check: Check, value: unknown): unknown => (check.known ? check.known(value) : value);

const knowing = (check: (value: unknown) => boolean, known: (value: unknown) => unknown): Check => Object.assign((value: unknown) => check(value), { known });
const either = (check: Check, nothing: null | undefined): Check => knowing((value) => value === nothing || check(value), (value) => (value === nothing ? nothing : knownOf(check, value)));
