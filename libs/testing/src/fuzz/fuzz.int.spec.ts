import { expect, it } from '@jest/globals';
import { VRA_COMMANDS } from '@tidemark/contracts';
import { Random } from '../sim/random.js';
import { fuzzedMessages } from './message-targets.js';
import { execute, type Finding, type FuzzTarget } from './target.js';
import { TARGETS } from './targets.js';

/** The same seeds in every gate; `npm run fuzz` goes on from there. */
const FIRST_SEED = 1;

async function findingsOf(target: FuzzTarget, count: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + count && findings.length < 3; seed += 1) {
    const finding = await execute(target, seed, (from) => new Random(from));
    if (finding) findings.push(finding);
  }
  return findings;
}

it.each(TARGETS.map((target) => [target.name, target] as const))('%s holds against what peers and disks may say', async (_, target) => {
  expect(await findingsOf(target, target.gateCount)).toEqual([]);
}, 60_000);

it('every command that a VRA takes is among the messages', () => {
  const types = Object.values(VRA_COMMANDS).flatMap(({ type }) => type ?? []);
  expect(types.filter((type) => !fuzzedMessages.has(type)).map(({ name }) => name)).toEqual([]);
});

it('a decoder that fails, believes a length, or takes too much is found', async () => {
  const broken = (run: FuzzTarget['run']): FuzzTarget => ({ name: 'broken', gateCount: 1, run });
  const found = async (run: FuzzTarget['run']): Promise<string | undefined> => (await findingsOf(broken(run), 1))[0]?.what;
  expect(await found(() => { throw new RangeError('offset out of bounds'); })).toContain('out of bounds');
  let kept: Uint8Array | undefined;
  expect(await found(() => { kept = new Uint8Array(64 << 20); })).toContain('allocated');
  expect(kept?.length).toBe(64 << 20);
});
