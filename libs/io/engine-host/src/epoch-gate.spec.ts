import { expect, it } from '@jest/globals';
import { withoutOverEpochs } from './epoch-gate.js';
import type { BarrierSpec, DesiredState, ProtectionSpec } from './types.js';

const VRA = { vraId: 'r', address: '127.0.0.1', controlPort: 4007, dataPort: 4008 };
const protection = (vpgId: string, epoch: number, vmId = 'vm'): ProtectionSpec => ({ vpgId, vmId, epoch, diskIds: ['d'], recoveringVra: VRA, recoverySiteId: 's', isCompressed: false, priority: 'low' });
const barrier = (vpgId: string, epoch: number): BarrierSpec => ({ vpgId, version: 1, epoch, intervalMs: 5000, members: [] });
const document = (revision: number, protections: ProtectionSpec[], barriers: BarrierSpec[] = []): DesiredState => ({ revision, attachedVms: [{ vmId: 'guest', disks: [] }], protections, barriers });
const nothing = (): number => 0;

it('takes a document whose epochs are those that are known, or newer, as it is', () => {
  const wanted = document(2, [protection('a', 3), protection('b', 1)], [barrier('a', 3)]);
  expect(withoutOverEpochs(wanted, document(1, [protection('a', 2)], [barrier('a', 3)]), (vpgId) => (vpgId === 'b' ? 1 : 0))).toEqual({ desired: wanted, refusals: [] });
});

it('goes on with the newer protection and barrier, and takes the rest of the document', () => {
  const current = document(1, [protection('a', 5)], [barrier('a', 5)]);
  const { desired, refusals } = withoutOverEpochs(document(2, [protection('a', 3), protection('b', 1)], [barrier('a', 3), barrier('b', 1)]), current, nothing);
  expect(desired).toEqual({ ...document(2, [protection('a', 5), protection('b', 1)], [barrier('a', 5), barrier('b', 1)]) });
  expect(refusals).toEqual(['VPG a: epoch 5 is in force here, not 3']);
});

it('begins nothing for a VPG that was failed over to this VRA since', () => {
  const { desired, refusals } = withoutOverEpochs(document(2, [protection('a', 1), protection('a', 1, 'other')], [barrier('a', 1)]), document(1, []), (vpgId) => (vpgId === 'a' ? 2 : 0));
  expect(desired).toEqual(document(2, []));
  expect(refusals).toEqual(['VPG a: epoch 2 is in force here, not 1']);
});

it('stops what the document does not name any more: the end of a protection is nobody\'s older word', () => {
  expect(withoutOverEpochs(document(2, []), document(1, [protection('a', 5)], [barrier('a', 5)]), nothing)).toEqual({ desired: document(2, []), refusals: [] });
});
