import { expect, it } from '@jest/globals';
import type { BarrierStatusV1 } from '@tidemark/contracts';
import { voidReasonOf, withNames } from './checkpoint-trouble.js';

const says = (vraId: string, leaderVraId: string | null, lastVoidReason: string | null, vpgId = 'v') => {
  const barrier: BarrierStatusV1 = { vpgId, version: 1, leaderVraId, term: 1, holdMsP50: 0, holdMsP99: 0, holdMsMax: 0, lastVoidReason, clockOffsetMs: 0, voidCount: 0, sealedCount: 0 };
  return { vraId, barriers: [barrier] };
};

it.each([
  ['nobody takes part', [], null],
  ['the leader has sealed the newest, whatever another one says', [says('b', 'a', 'old'), says('a', 'a', null)], null],
  ['the leader says why', [says('b', 'a', 'not all VRAs marked within 50 ms'), says('a', 'a', 'no answer of c')], 'no answer of c'],
  ['the leader is not heard here', [says('b', 'a', null), says('c', 'a', 'the leader is out of reach')], 'the leader is out of reach'],
  ['nobody leads', [says('b', null, null)], 'no VRA that answers leads its checkpoints'],
  ['it is about another VPG', [says('a', 'a', 'no answer of c', 'w')], null],
])('%s', (_what, statuses, reason) => expect(voidReasonOf(statuses, 'v')).toBe(reason));

it('names VRAs where their ids are meant', () => {
  expect(withNames('7: no answer of 12 within 127 ms', new Map([['7', 'Z-VRA-12'], ['12', 'Z-VRA-b']]))).toBe("VRA 'Z-VRA-12': no answer of VRA 'Z-VRA-b' within 127 ms");
});
