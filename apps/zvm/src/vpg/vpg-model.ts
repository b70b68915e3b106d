import type { FailoverRecordV1, FailoverTestRecordV1, RecoveredVmV1, VpgDefinitionV1, VpgRecordV1, VpgVmV1 } from '@tidemark/contracts';

/** The domain's VPG is what the sites exchange; the copy at the other site differs in nothing. */
export type VpgDefinition = VpgDefinitionV1;
export type VpgVm = VpgVmV1;
export type VpgRecord = VpgRecordV1;
export type VpgState = VpgRecord['state'];
export type FailoverRecord = FailoverRecordV1;
export type FailoverTestRecord = FailoverTestRecordV1;
export type RecoveredVm = RecoveredVmV1;
export type CommitPolicy = FailoverRecord['commitPolicy'];
export type ShutdownPolicy = FailoverRecord['shutdownPolicy'];

/** States in which the protected site captures, replicates and makes checkpoints. */
export const isReplicating = (record: VpgRecord): boolean => record.state === 'protecting' || record.state === 'failingOver';

/** The VPG as its users see it; a removed one is only remembered until the other site has confirmed. */
export const isVisible = (record: VpgRecord): boolean => record.state !== 'removed';

/** Of the failover that is under way or committed, else the one in force: what a VRA is asked with by who knows of all failovers. */
export const newestEpoch = ({ failover, epoch }: VpgRecord): number => failover?.reservedEpoch ?? epoch;
