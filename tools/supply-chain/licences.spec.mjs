import { describe, expect, it } from '@jest/globals';
import { isAllowedLicence } from './licences.mjs';

const ALLOWED = new Set(['MIT', 'ISC']);

describe('licences', () => {
  it.each(['MIT', '(MIT)', 'MIT OR GPL-3.0', '(GPL-3.0 OR MIT)', 'MIT AND ISC'])('allows %s', (text) => expect(isAllowedLicence(text, ALLOWED)).toBe(true));

  it.each(['GPL-3.0', 'MIT AND GPL-3.0', 'MIT OR ISC AND GPL-3.0', '(MIT OR ISC) AND (ISC OR MIT)', 'SEE LICENSE IN x', '', undefined, { type: 'MIT' }])('refuses %p', (text) =>
    expect(isAllowedLicence(text, ALLOWED)).toBe(false),
  );
});
