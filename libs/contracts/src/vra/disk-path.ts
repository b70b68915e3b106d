import { NbdUriError, parseNbdUri } from '@tidemark/base';
import { ValidateBy } from 'class-validator';

/** Why no disk can be found there; undefined: one may. */
function problemOf(value: unknown): string | undefined {
  if (typeof value !== 'string') return 'must be a text';
  if (value.startsWith('/')) return value.includes('\0') ? 'must have no zero byte' : undefined;
  try {
    parseNbdUri(value);
    return undefined;
  } catch (error) {
    if (error instanceof NbdUriError) return `must be an absolute path or the URI of an NBD export: ${error.message}`;
    throw error;
  }
}

/** The absolute path of a raw file, or the URI of an NBD export that this release can open. */
export function IsDiskPath(): PropertyDecorator {
  return ValidateBy({
    name: 'isDiskPath',
    validator: { validate: (value) => problemOf(value) === undefined, defaultMessage: (args) => `${args?.property ?? 'path'} ${problemOf(args?.value) ?? ''}` },
  });
}
