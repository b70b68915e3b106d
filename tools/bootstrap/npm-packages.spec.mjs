import { describe, expect, it } from '@jest/globals';
import { findMissing } from './npm-packages.mjs';

const WANTED = {
  '': { version: '0.1.0' },
  'libs/core/base': { version: '0.1.0' },
  'node_modules/@tidemark/base': { link: true },
  'node_modules/koffi': { version: '3.3.4' },
  'node_modules/@swc/core-darwin-arm64': { version: '1.16.18', optional: true },
};
const INSTALLED = { 'node_modules/@tidemark/base': { link: true }, 'node_modules/koffi': { version: '3.3.4' } };

describe('what npm must still install', () => {
  it('is nothing when all but other platforms is there', () => expect(findMissing(WANTED, INSTALLED)).toEqual([]));

  it('is a package in another version', () => {
    expect(findMissing(WANTED, { ...INSTALLED, 'node_modules/koffi': { version: '3.0.0' } })).toEqual(['node_modules/koffi']);
  });

  it('is a workspace link that nobody made', () => {
    const { 'node_modules/koffi': koffi } = INSTALLED;
    expect(findMissing(WANTED, { 'node_modules/koffi': koffi })).toEqual(['node_modules/@tidemark/base']);
  });
});
