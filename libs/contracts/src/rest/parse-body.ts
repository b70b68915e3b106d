import { plainToInstance } from 'class-transformer';
import { type ValidationError, validateSync } from 'class-validator';
import { TooDeepError, toPascalKeys } from './keys.js';

/** What a request body turned out to be. */
export type ParsedBody<T> = { readonly isValid: true; readonly value: T } | { readonly isValid: false; readonly messages: readonly string[] };

/**
 * Reads a request body as `type`: camelCase keys become PascalCase, enumerations become names, unknown fields are
 * dropped, and every fault is told with its place: "Basic.RpoInSeconds must be an integer number". An absent body is `{}`.
 */
export function parseBody<T extends object>(type: new () => T, body: unknown): ParsedBody<T> {
  const given = body ?? {};
  if (typeof given !== 'object' || Array.isArray(given)) return { isValid: false, messages: ['the body must be a JSON object'] };
  let value: T;
  try {
    value = plainToInstance(type, toPascalKeys(given), { exposeUnsetFields: false });
  } catch (error) {
    if (error instanceof TooDeepError) return { isValid: false, messages: [error.message] };
    throw error;
  }
  const errors = validateSync(value, { whitelist: true, stopAtFirstError: true, forbidUnknownValues: true });
  return errors.length === 0 ? { isValid: true, value } : { isValid: false, messages: messagesOf(errors) };
}

/** One line per fault, each beginning with the path of the field. */
export function messagesOf(errors: readonly ValidationError[], parent = ''): string[] {
  return errors.flatMap((error) => {
    const path = pathOf(parent, error.property);
    const own = Object.values(error.constraints ?? {}).map((text) => placed(text, error.property, path));
    return [...own, ...messagesOf(error.children ?? [], path)];
  });
}

function pathOf(parent: string, property: string): string {
  if (parent === '') return property;
  return /^\d+$/.test(property) ? `${parent}[${property}]` : `${parent}.${property}`;
}

/** Messages name the field first, or after "each value in". */
function placed(text: string, property: string, path: string): string {
  return text.includes(property) ? text.replace(property, path) : `${path}: ${text}`;
}
