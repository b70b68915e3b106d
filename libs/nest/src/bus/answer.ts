import { TidemarkError } from '@tidemark/base';
import type { Reply } from '@tidemark/contracts';
import { plainToInstance } from 'class-transformer';
import { getMetadataStorage, validate, type ValidationError, ValidationTypes } from 'class-validator';
import { ControlError, ControlRefusal } from './control-error.js';
import { decodeMessage, isPacked } from './message-codec.js';
import { Turnstile } from './turnstile.js';

export type Constructor<T> = new () => T;

/** A packed message may become 64 MiB and take as much again as objects: this many are held at a time, the others wait as they came. */
const PACKED_AT_ONCE = 4;
const packed = new Turnstile(PACKED_AT_ONCE);

/** What a responder says to the bytes of a request, whatever they are: never rejects. The handler sees only a message of its type. */
export async function answerMessage<T extends object, R>(
  type: Constructor<T> | null,
  bytes: Uint8Array,
  handle: (message: T) => Promise<R> | R,
): Promise<Reply<R>> {
  return isPacked(bytes) ? await packed.pass(() => answer(type, bytes, handle)) : await answer(type, bytes, handle);
}

async function answer<T extends object, R>(type: Constructor<T> | null, bytes: Uint8Array, handle: (message: T) => Promise<R> | R): Promise<Reply<R>> {
  try {
    const plain: unknown = bytes.length === 0 ? {} : await decodeMessage(bytes);
    if (typeof plain !== 'object' || plain === null) return { isOk: false, code: 'CONTROL_INVALID', message: 'an object is expected' };
    if (!type) return { isOk: true, result: await handle(plain as T) };
    const { message, faults } = await readMessage(type, plain);
    if (faults !== '') return { isOk: false, code: 'CONTROL_INVALID', message: faults };
    return { isOk: true, result: await handle(message) };
  } catch (error) {
    if (error instanceof ControlRefusal) return { isOk: false, code: error.code, message: error.message };
    if (error instanceof TidemarkError) return { isOk: false, code: String(error.code), message: error.message };
    return { isOk: false, code: 'CONTROL_INTERNAL', message: error instanceof Error ? error.message : String(error) };
  }
}

async function readMessage<T extends object>(type: Constructor<T>, plain: object): Promise<{ message: T; faults: string }> {
  const message = plainToInstance<T, object>(type, plain);
  // Parts first: whoever validates takes a list of none for one part that has no faults.
  const faults = partFault(message) ?? describeErrors(await validate(message, { whitelist: true }));
  return { message, faults: faults === '' && hasZero(message) ? 'a text must have no zero byte' : faults };
}

/** Where a message holds others, each is an object: no list of them where one belongs, no list within a list. */
function partFault(message: object): string | undefined {
  for (const { propertyName, each } of getMetadataStorage().getTargetValidationMetadatas(message.constructor, '', false, false).filter(({ type }) => type === ValidationTypes.NESTED_VALIDATION)) {
    const value = (message as Readonly<Record<string, unknown>>)[propertyName];
    if (value === undefined || value === null) continue;
    // What should be a list and is none, the validation says.
    const parts: readonly unknown[] = each && Array.isArray(value) ? value : [value];
    for (const part of parts) {
      if (typeof part !== 'object' || part === null || Array.isArray(part)) return `${propertyName} must be ${each ? 'a list of objects' : 'an object'}`;
      const inner = partFault(part);
      if (inner !== undefined) return `${propertyName}.${inner}`;
    }
  }
  return undefined;
}

/** U+0000 is stored by no database of ours: such a text would fail far from here. Only of what has passed: it is as deep as a message is, not as the sender likes. */
function hasZero(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\0');
  return typeof value === 'object' && value !== null && Object.values(value).some(hasZero);
}

/** What came from elsewhere, as a message of `type`. Throws ControlError CONTROL_INVALID that names `what` and every fault. */
export async function checkMessage<T extends object>(type: Constructor<T>, plain: unknown, what: string): Promise<T> {
  const isObject = typeof plain === 'object' && plain !== null && !Array.isArray(plain);
  const { message, faults } = isObject ? await readMessage(type, plain) : { message: undefined, faults: 'an object is expected' };
  if (message === undefined || faults !== '') throw new ControlError('CONTROL_INVALID', `${what}: ${faults}`);
  return message;
}

/** `volumes.0.sizeBytes must not be less than 1; …` */
export function describeErrors(errors: readonly ValidationError[], prefix = ''): string {
  return errors
    .map((error) => {
      const path = prefix === '' ? error.property : `${prefix}.${error.property}`;
      const own = Object.values(error.constraints ?? {}).map((text) => (prefix === '' ? text : `${prefix}.${text}`));
      const nested = error.children?.length ? [describeErrors(error.children, path)] : [];
      return [...own, ...nested].join('; ');
    })
    .join('; ');
}
