import { describe, expect, it } from '@jest/globals';
import { SharedVmSets } from './shared-vm-sets.js';

describe('SharedVmSets', () => {
  it('gives one array for the same VMs, and what was asked for', () => {
    const sets = new SharedVmSets();
    const first = sets.of(['a', 'b']);
    const other = sets.of(['a', 'c']);
    expect([first, other]).toEqual([['a', 'b'], ['a', 'c']]);
    expect(sets.of(['a', 'b'])).toBe(first);
    expect(sets.of(['a', 'c'])).toBe(other);
  });

  it('takes no set for its beginning, nor for another order', () => {
    const sets = new SharedVmSets();
    sets.of(['a', 'b']);
    expect(sets.of(['a'])).toEqual(['a']);
    expect(sets.of(['a', 'b', 'c'])).toEqual(['a', 'b', 'c']);
    expect(sets.of(['b', 'a'])).toEqual(['b', 'a']);
  });

  it('keeps those in use, however many others come by', () => {
    const sets = new SharedVmSets();
    const used = sets.of(['a', 'b']);
    const unused = sets.of(['x']);
    for (let index = 0; index < 100; index++) {
      sets.of([`other-${index}`]);
      expect(sets.of(['a', 'b'])).toBe(used);
    }
    expect(sets.of(['x'])).not.toBe(unused);
  });
});
