import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { utf8Bytes, utf8Text } from '@tidemark/base';
import { checkpointIdOf, decodeControlMessage, encodeControlMessage, type BarrierMessage, type RetirementMessage } from './index.js';

type Kinds<Message extends { readonly kind: string }, Type extends string> = { readonly [Kind in Message['kind'] as `${Type} ${Kind}`]: Extract<Message, { readonly kind: Kind }> };

const BARRIER = { type: 'barrier', vpgId: 'vpg', version: 3, epoch: 2, term: 8194 } as const;
const checkpointId = checkpointIdOf({ term: 8194, index: 5 });
const RETIREMENT = { type: 'retirement', vpgId: 'vpg', epoch: 2, checkpointId } as const;

/** A kind that is new has no entry here, and does not compile. */
const MESSAGES: Kinds<BarrierMessage, 'barrier'> & Kinds<RetirementMessage, 'retirement'> = {
  'barrier hello': { ...BARRIER, kind: 'hello', leaderVraId: 'vra-1', isLeading: false },
  'barrier claim': { ...BARRIER, kind: 'claim' },
  'barrier follows': { ...BARRIER, kind: 'follows' },
  'barrier beat': { ...BARRIER, kind: 'beat' },
  'barrier mark': { ...BARRIER, kind: 'mark', checkpointId, atMs: 1_763_800_000_000.5, elapsedMs: 0.125, tag: 'ä', checkpointKind: 'tagged', vmIds: ['vm-1', 'vm-2'] },
  'barrier marked': { ...BARRIER, kind: 'marked', checkpointId },
  'barrier unmarked': { ...BARRIER, kind: 'unmarked', checkpointId, reason: 'vm-1 does not replicate' },
  'barrier release': { ...BARRIER, kind: 'release', checkpointId },
  'barrier void': { ...BARRIER, kind: 'void', checkpointId, reason: 'vra-2 is out of reach' },
  'barrier outcome': { ...BARRIER, kind: 'outcome', checkpointId, isSealed: true, reason: '' },
  'barrier refused': { ...BARRIER, kind: 'refused', leaderVraId: 'vra-2' },
  'retirement ask': { ...RETIREMENT, kind: 'ask' },
  'retirement free': { ...RETIREMENT, kind: 'free' },
  'retirement retire': { ...RETIREMENT, kind: 'retire' },
  'retirement retired': { ...RETIREMENT, kind: 'retired' },
  'retirement refused': { ...RETIREMENT, kind: 'refused', reason: 'vm-1: a test is open' },
  'retirement withdraw': { ...RETIREMENT, kind: 'withdraw' },
  'retirement allow': { ...RETIREMENT, kind: 'allow' },
};

/** Bodies of control frames, made by an independent encoder; a change of these texts is a change of what VRAs say to each other on 4007. */
const golden = JSON.parse(readFileSync(new URL('../testdata/control-v1.json', import.meta.url), 'utf8')) as Record<string, string>;

describe('barrier and retirement messages', () => {
  it('are all among the golden ones', () => expect(Object.keys(golden).sort()).toEqual(Object.keys(MESSAGES).sort()));

  it.each(Object.entries(MESSAGES))('%s is written and read as ever', (name, message) => {
    expect(utf8Text(encodeControlMessage(message))).toBe(golden[name]);
    expect(decodeControlMessage(utf8Bytes(golden[name] ?? ''))).toEqual(message);
  });
});
