import { ProtocolError, utf8Bytes, utf8Text } from '@tidemark/base';

export const encodeJson = (value: object): Uint8Array => utf8Bytes(JSON.stringify(value));

/** A JSON object of a peer. Throws ProtocolError for bytes that are not UTF-8, not JSON or not an object. */
export function decodeJson(bytes: Uint8Array, what: string): JsonFields {
  let value: unknown;
  try {
    value = JSON.parse(utf8Text(bytes));
  } catch (cause) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `${what} is not JSON`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ProtocolError('PROTOCOL_LAYOUT', `${what} is not a JSON object`);
  }
  return new JsonFields(value, what);
}

/**
 * Reads the fields of a peer's JSON object one by one, each with its type and bounds, and refuses what nobody asked for.
 * Every method throws ProtocolError.
 */
export class JsonFields {
  readonly #fields: ReadonlyMap<string, unknown>;
  readonly #read = new Set<string>();

  constructor(
    object: object,
    readonly what: string,
  ) {
    this.#fields = new Map<string, unknown>(Object.entries(object));
  }

  /** A string of 1 to `charactersMax` UTF-16 units. */
  text(name: string, charactersMax: number): string {
    const value = this.#take(name);
    if (typeof value !== 'string' || value.length === 0 || value.length > charactersMax) return this.#refuse(name);
    return value;
  }

  /** As {@link text}, but may be empty. */
  freeText(name: string, charactersMax: number): string {
    return this.#peek(name) === '' ? (this.#read.add(name), '') : this.text(name, charactersMax);
  }

  nullableText(name: string, charactersMax: number): string | null {
    if (this.#peek(name) !== null) return this.text(name, charactersMax);
    this.#read.add(name);
    return null;
  }

  /** A safe integer between the bounds, both included. */
  integer(name: string, min: number, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.#take(name);
    return isIntegerIn(value, min, max) ? value : this.#refuse(name);
  }

  nullableInteger(name: string, min: number): number | null {
    if (this.#peek(name) !== null) return this.integer(name, min);
    this.#read.add(name);
    return null;
  }

  /** A finite number between the bounds, both included. */
  number(name: string, min: number, max: number): number {
    const value = this.#take(name);
    if (typeof value !== 'number' || !(value >= min && value <= max)) return this.#refuse(name);
    return value;
  }

  flag(name: string): boolean {
    const value = this.#take(name);
    return typeof value === 'boolean' ? value : this.#refuse(name);
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T {
    const value = this.#take(name);
    return values.find((known) => known === value) ?? this.#refuse(name);
  }

  texts(name: string, bounds: { readonly countMax: number; readonly charactersMax: number }): string[] {
    return this.#array(name, bounds.countMax, (value): value is string => typeof value === 'string' && value.length > 0 && value.length <= bounds.charactersMax);
  }

  /** As {@link texts}, but each may be empty. */
  freeTexts(name: string, bounds: { readonly countMax: number; readonly charactersMax: number }): string[] {
    return this.#array(name, bounds.countMax, (value): value is string => typeof value === 'string' && value.length <= bounds.charactersMax);
  }

  integers(name: string, bounds: { readonly countMax: number; readonly min: number; readonly max?: number }): number[] {
    return this.#array(name, bounds.countMax, (value) => isIntegerIn(value, bounds.min, bounds.max ?? Number.MAX_SAFE_INTEGER));
  }

  /** To be called last: a field that was not read is one that we do not know. */
  end(): void {
    for (const name of this.#fields.keys()) {
      if (!this.#read.has(name)) throw new ProtocolError('PROTOCOL_LAYOUT', `${this.what}: unknown field ${name.slice(0, 64)}`);
    }
  }

  #array<T>(name: string, countMax: number, isRight: (value: unknown) => value is T): T[] {
    const values = this.#take(name);
    if (!Array.isArray(values) || values.length > countMax || !values.every(isRight)) return this.#refuse(name);
    return values;
  }

  #peek(name: string): unknown {
    return this.#fields.get(name);
  }

  #take(name: string): unknown {
    this.#read.add(name);
    return this.#fields.get(name);
  }

  #refuse(name: string): never {
    throw new ProtocolError('PROTOCOL_LAYOUT', `${this.what}: field ${name} is missing or wrong`);
  }
}

const isIntegerIn = (value: unknown, min: number, max: number): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max;
