import { describe, expect, it } from '@jest/globals';
import { pathPart } from './plan-definition.js';

describe('names of folders and files made from ids', () => {
  it.each([['../../etc', '_2e_2e_2f_2e_2e_2fetc'], ['scsi:0:0', 'scsi_3a0_3a0'], ['a b', 'a_20b'], ['vm-7', 'vm-7']])('%s is harmless', (id, part) =>
    expect(pathPart(id)).toBe(part));

  it('never lets two ids share a name', () => {
    const ids = ['a.b', 'a_2eb', 'a/b', 'a:b', 'a b', 'a_b', 'A.b'];
    expect(new Set(ids.map(pathPart)).size).toBe(ids.length);
  });
});
