import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { getMetadataStorage } from 'class-validator';
import * as contracts from '../index.js';

/** What bounds a text; a UUID and a chosen word are bounded by what they are. */
const TEXT_LIMITS = ['maxLength', 'isLength', 'isUuid', 'isIn', 'matches'];

type Message = new () => object;
const messages = Object.entries(contracts).filter((entry): entry is [string, Message] => /V\d+$/.test(entry[0]) && typeof entry[1] === 'function');

function unlimited(message: Message): string[] {
  const fields = Map.groupBy(getMetadataStorage().getTargetValidationMetadatas(message, '', false, false), ({ propertyName }) => propertyName);
  return [...fields].flatMap(([field, checks]) => {
    const names = checks.map(({ name, type }) => name ?? type);
    const isList = names.includes('isArray') && !names.includes('arrayMaxSize');
    const isText = names.includes('isString') && !TEXT_LIMITS.some((limit) => names.includes(limit));
    return [...(isList ? [`${field}: a list without a limit`] : []), ...(isText ? [`${field}: a text without a limit`] : [])];
  });
}

describe('messages between components', () => {
  it('are found', () => {
    expect(messages.length).toBeGreaterThan(50);
  });

  it.each(messages)('%s has a limit on every list and text', (_name, message) => {
    expect(unlimited(message)).toEqual([]);
  });
});
