import { describe, expect, it } from '@jest/globals';
import { isLetGo, VraCustody, type VraWord } from './disk-custody.js';

const word = (revision: number, ...vmIds: string[]): VraWord => ({ revision, attachedVmIds: new Set(vmIds) });

/** What another VRA was told, and what it said last. */
function other(documents: readonly (readonly [number, ...string[]])[], said: VraWord | undefined) {
  const custody = new VraCustody();
  for (const [revision, ...vmIds] of documents) custody.told(revision, vmIds);
  return { custody, word: said };
}

describe('a disk that has no lock goes to another VRA', () => {
  it.each([
    ['the other has let go', other([[5, 'vm'], [6]], word(6)), true],
    ['the other never had it', other([[5]], word(5)), true],
    ['the other runs what came after, too', other([[5, 'vm'], [6], [7, 'x']], word(7, 'x')), true],
    ['the other still has it', other([[5, 'vm'], [6]], word(5, 'vm')), false],
    ['the other is to let go and has said nothing yet', other([[5, 'vm'], [6]], word(5)), false],
    ['the other was told to open it, and its word is from before', other([[4], [5, 'vm'], [6]], word(4)), false],
    ['the other is to open it and cannot yet', other([[5, 'vm']], word(5)), false],
    ['its word is about documents of which nobody knows what they said', other([[6]], word(5)), false],
    ['the other was not heard of', other([[6]], undefined), false],
    ['nothing is known of the other', other([], word(6)), false],
  ] as const)('%s', (_what, facts, expected) => {
    expect(isLetGo('vm', other([[3]], word(3)), [facts])).toBe(expected);
  });

  it('stays where it is, whoever is silent', () => {
    expect(isLetGo('vm', other([], word(3, 'vm')), [other([], undefined)])).toBe(true);
  });

  it('stays where it was given to, while that VRA and the others restart', () => {
    expect(isLetGo('vm', other([[2], [3, 'vm']], word(-1)), [other([[4]], word(-1))])).toBe(true);
    expect(isLetGo('vm', other([[2, 'vm'], [3]], word(-1)), [other([[4]], word(-1))])).toBe(false);
  });

  it('leaves both when both have it', () => {
    expect(isLetGo('vm', other([], word(3, 'vm')), [other([[5, 'vm']], word(5, 'vm'))])).toBe(false);
  });

  it('waits for every one of them', () => {
    const free = other([[5]], word(5));
    expect(isLetGo('vm', undefined, [free, other([[5, 'vm']], word(5, 'vm'))])).toBe(false);
    expect(isLetGo('vm', undefined, [free, free])).toBe(true);
  });
});
