/**
 * The long operations as ordered steps. Every step is idempotent: after a restart the one that was under way is done
 * again. The order of the steps is where the safety rules live; plans.spec.ts states them.
 */
export type StepName =
  // createVpg
  | 'recordVpg' | 'copyToPeer' | 'prepareRecovery' | 'startProtection' | 'markProtecting'
  // updateVpg
  | 'recordSettings' | 'applySettings' | 'copySettings'
  // moveRecovery (of one VPG's VMs) and evacuateVra
  | 'checkRecoveryMove' | 'releaseRecoveries' | 'takeOverRecoveries' | 'recordRecoveryHost' | 'applyRecoveryHost' | 'tellRecoveryHost' | 'beginMoves' | 'awaitMoves'
  // forceSync, pauseReplication, resumeReplication
  | 'checkSyncable' | 'requestSync' | 'recordPause' | 'tellPaused' | 'recordResume' | 'tellResumed'
  // deleteVpg
  | 'markDeleting' | 'stopProtection' | 'removeRecovery' | 'removePeerCopy' | 'removeVpg'
  // insertCheckpoint
  | 'requestCheckpoint' | 'awaitListed' | 'awaitListedAtPeer'
  // failoverTest and its stop
  | 'recordTest' | 'runTestPreScript' | 'openTestViews' | 'createTestVms' | 'powerOnTestVms' | 'runTestPostScript' | 'markTestRunning'
  | 'markTestStopping' | 'powerOffTestVms' | 'deleteTestVms' | 'closeTestViews' | 'tagTestedCheckpoint' | 'clearTest'
  // failover, its commit and its rollback
  | 'recordFailover' | 'reserveEpoch' | 'runPreScript' | 'openViews' | 'shutDownProtectedVms' | 'createVms' | 'powerOnVms' | 'runPostScript' | 'markBeforeCommit'
  | 'markCommitting' | 'commitEpoch' | 'startPromotion' | 'endReplication' | 'markPromoting'
  | 'awaitPromotion' | 'switchDisksToFiles' | 'closePromotedViews' | 'removeJournals' | 'markPromoted'
  | 'markRollingBack' | 'powerOffVms' | 'deleteVms' | 'closeViews' | 'burnEpoch' | 'powerOnProtectedVms' | 'markRolledBack'
  // move: what differs from failover
  | 'recordMove' | 'reserveMoveEpoch' | 'runMovePreScript' | 'shutDownVms' | 'drainStreams' | 'insertLastCheckpoint' | 'createMovedVms' | 'openMovedViews' | 'powerOnMovedVms' | 'runMovePostScript' | 'markMoved'
  // reverse protection: at the site where the VMs run now, and at the one where they ran
  | 'awaitOldSite' | 'handOver' | 'awaitReversed' | 'recordReversed' | 'retireOldVms' | 'openOldVolumes' | 'startReversed'
  // installVra and uninstallVra
  | 'deployAppliance' | 'awaitHeartbeat' | 'registerVra' | 'retireVra' | 'removeAppliance' | 'forgetVra'
  // removeVba and verifyCheckpoint
  | 'expelVba' | 'forgetVba' | 'openReadViews' | 'readVolumes' | 'closeReadViews'
  // pair and unpair
  | 'redeemToken' | 'confirmPeer' | 'awaitPeer' | 'sealPairing' | 'revokePeer' | 'removePairVpgs' | 'tellUnpaired';

export type PlanKind =
  | 'createVpg' | 'deleteVpg' | 'insertCheckpoint' | 'failoverTest' | 'failoverTestStop' | 'failover' | 'failoverCommit' | 'promotion' | 'failoverRollback'
  | 'move' | 'reverseProtection' | 'takeReverse'
  | 'updateVpg' | 'moveRecovery' | 'evacuateVra' | 'forceSync' | 'pauseReplication' | 'resumeReplication' | 'installVra' | 'uninstallVra' | 'removeVba' | 'verifyCheckpoint' | 'pair' | 'unpair';

export interface Step {
  readonly name: StepName;
  /** What users read while it is under way. */
  readonly title: string;
  /** Its share of the progress bar. */
  readonly weight: number;
  /** Has an undo, which must also be right when the step was done in part or not at all. */
  readonly isUndoable: boolean;
  /** `rollBack`: undo this step and all before it. `retry`: there is no way back, try until it works. */
  readonly onFailure: 'rollBack' | 'retry';
}

/** Can be undone; leaves something behind when done. */
const undoable = (name: StepName, title: string, weight = 1): Step => ({ name, title, weight, isUndoable: true, onFailure: 'rollBack' });
/** Leaves nothing behind, or what it leaves is taken away by the undo of an earlier step. */
const plain = (name: StepName, title: string, weight = 1): Step => ({ name, title, weight, isUndoable: false, onFailure: 'rollBack' });
/** From here on there is only forward. */
const forward = (name: StepName, title: string, weight = 1): Step => ({ name, title, weight, isUndoable: false, onFailure: 'retry' });

export const PLANS: Readonly<Record<PlanKind, readonly Step[]>> = {
  createVpg: [
    undoable('recordVpg', 'recording the VPG'),
    undoable('copyToPeer', 'recording the VPG at the protected site'),
    undoable('prepareRecovery', 'creating journals and recovery volumes', 4),
    undoable('startProtection', 'starting replication', 3),
    plain('markProtecting', 'finishing'),
  ],
  // Capture stops first: a stream that meets a missing journal would be reported as an error. A mirror goes before the records that know its path.
  deleteVpg: [
    forward('markDeleting', 'recording the deletion'),
    forward('stopProtection', 'stopping replication', 3),
    forward('removeRecovery', 'removing journals and recovery volumes', 4),
    forward('removePeerCopy', 'removing the VPG at the protected site'),
    forward('removeVpg', 'removing the VPG'),
  ],
  insertCheckpoint: [
    plain('requestCheckpoint', 'putting the checkpoint into the streams', 3),
    plain('awaitListed', 'waiting until every journal holds it', 5),
    plain('awaitListedAtPeer', 'waiting until both sites list it', 2),
  ],
  failoverTest: [
    undoable('recordTest', 'recording the test'),
    plain('runTestPreScript', 'pre-recovery script'),
    undoable('createTestVms', 'creating the test VMs', 3),
    undoable('openTestViews', 'opening the disks at the checkpoint', 3),
    undoable('powerOnTestVms', 'powering on the test VMs', 3),
    plain('runTestPostScript', 'post-recovery script'),
    plain('markTestRunning', 'finishing'),
  ],
  failoverTestStop: [
    forward('markTestStopping', 'recording the end of the test'),
    forward('powerOffTestVms', 'powering off the test VMs', 3),
    forward('deleteTestVms', 'deleting the test VMs', 2),
    forward('closeTestViews', 'dropping the scratch volumes', 2),
    forward('tagTestedCheckpoint', 'tagging the tested checkpoint'),
    forward('clearTest', 'finishing'),
  ],
  // The newer epoch is durable on every recovering VRA before anything of it can run. Scripts act on things that nobody here can undo: the first one runs when the VRAs have answered. VMs are created before the views: the hypervisor names the
  // exports that the views serve. Production is stopped only after the recovered disks are open.
  failover: [
    undoable('recordFailover', 'recording the failover'),
    undoable('reserveEpoch', 'reserving the ownership epoch on every recovering VRA', 2),
    plain('runPreScript', 'pre-recovery script'),
    undoable('createVms', 'creating the recovered VMs', 3),
    undoable('openViews', 'opening the disks at the checkpoint', 3),
    undoable('shutDownProtectedVms', 'shutting down the protected VMs', 3),
    undoable('powerOnVms', 'powering on the recovered VMs', 3),
    plain('runPostScript', 'post-recovery script'),
    plain('markBeforeCommit', 'finishing'),
  ],
  // The decision is durable first, so that no timer and no restart can roll back a failover of which one VRA has committed.
  failoverCommit: [
    forward('markCommitting', 'recording the commit: the history before the failover ends'),
    forward('commitEpoch', 'committing the ownership epoch on every recovering VRA', 3),
    forward('startPromotion', 'starting the promotion of the journals', 2),
    forward('endReplication', 'ending replication from the old protected site', 2),
    forward('markPromoting', 'finishing'),
  ],
  // In the background, while the recovered VMs run. The journal goes last: until the disks are files, the views read it.
  promotion: [
    forward('awaitPromotion', 'promoting journal and scratch into the recovered disks', 20),
    forward('switchDisksToFiles', 'switching the recovered disks to their files', 2),
    forward('closePromotedViews', 'closing the checkpoint views'),
    forward('removeJournals', 'removing the journals', 2),
    forward('markPromoted', 'finishing'),
  ],
  // Nothing of the reserved epoch may run any more when it is burned, and the protected VMs start only after that.
  failoverRollback: [
    forward('markRollingBack', 'recording the rollback'),
    forward('powerOffVms', 'powering off the recovered VMs', 3),
    forward('deleteVms', 'deleting the recovered VMs', 2),
    forward('closeViews', 'dropping the scratch volumes', 2),
    forward('burnEpoch', 'burning the reserved epoch on every recovering VRA', 2),
    forward('powerOnProtectedVms', 'powering on the protected VMs', 2),
    forward('markRolledBack', 'finishing'),
  ],
  // The checkpoint is made when nothing can write any more and everything before it is durable: it holds the VMs' last write. Its VMs run only when the disks are open.
  move: [
    undoable('recordMove', 'recording the move'),
    undoable('reserveMoveEpoch', 'reserving the ownership epoch on every recovering VRA'),
    plain('runMovePreScript', 'pre-recovery script'),
    undoable('shutDownVms', 'shutting down the VMs', 3),
    plain('drainStreams', 'waiting until everything written is at the recovery site', 4),
    plain('insertLastCheckpoint', 'making the last checkpoint', 2),
    undoable('createMovedVms', 'creating the VMs at the recovery site', 3),
    undoable('openMovedViews', 'opening the disks at the last checkpoint', 3),
    undoable('powerOnMovedVms', 'powering on the moved VMs', 3),
    plain('runMovePostScript', 'post-recovery script'),
    plain('markMoved', 'finishing'),
  ],
  // Until the old protected site was asked, this site may give up; afterwards that site decides over the VPG.
  reverseProtection: [
    undoable('awaitOldSite', 'waiting for the old protected site'),
    plain('handOver', 'handing the VPG over to the old protected site', 2),
    forward('awaitReversed', 'waiting until the old protected site receives', 4),
  ],
  // Nothing of the old direction is sent any more before the old VMs go, and nobody has their disks open before these become mirrors.
  takeReverse: [
    forward('recordReversed', 'recording the VPG in its new direction'),
    forward('retireOldVms', 'powering off the old VMs and taking them from the inventory; their disks stay', 2),
    forward('openOldVolumes', 'making the old disks recovery volumes', 3),
    forward('startReversed', 'starting replication'),
  ],
  // A VRA that kept the settings of an edit that failed would go by them: with a shorter history it would retire what the record still promises.
  updateVpg: [
    undoable('recordSettings', 'recording the new settings'),
    undoable('applySettings', 'handing them to the recovering VRAs', 2),
    plain('copySettings', 'telling the protected site'),
  ],
  // The old VRA lets go before the new one takes over, and streams are sent there only when it has: one writer at any time. Until the move is recorded everything can go back.
  moveRecovery: [
    plain('checkRecoveryMove', 'checking that both VRAs answer and nothing stands in the way'),
    undoable('releaseRecoveries', 'closing journals and recovery volumes at the old VRA', 2),
    undoable('takeOverRecoveries', 'opening them at the new VRA', 3),
    forward('recordRecoveryHost', 'recording the new recovery host'),
    forward('applyRecoveryHost', 'telling all recovering VRAs of the VPG'),
    forward('tellRecoveryHost', 'telling the protected site to replicate there'),
  ],
  evacuateVra: [
    plain('beginMoves', 'starting the moves, VPG by VPG'),
    plain('awaitMoves', 'moving recoveries to other VRAs', 8),
  ],
  forceSync: [
    plain('checkSyncable', 'checking that the VPG replicates'),
    plain('requestSync', 'telling the protecting VRAs to compare everything with the recovery site', 3),
  ],
  pauseReplication: [
    undoable('recordPause', 'recording the pause'),
    plain('tellPaused', 'telling the protected site'),
  ],
  resumeReplication: [
    undoable('recordResume', 'recording the end of the pause'),
    plain('tellResumed', 'telling the protected site'),
  ],
  installVra: [
    undoable('deployAppliance', 'deploying the appliance', 4),
    plain('awaitHeartbeat', 'waiting for its first heartbeat', 4),
    plain('registerVra', 'registering it'),
  ],
  uninstallVra: [
    undoable('retireVra', 'taking it out of service'),
    plain('removeAppliance', 'removing the appliance', 4),
    forward('forgetVra', 'forgetting it'),
  ],
  // Nothing is given to it any more before its row goes: without the row nobody would look for what it still has.
  removeVba: [
    forward('expelVba', 'taking back its certificate and its NATS user', 2),
    forward('forgetVba', 'forgetting it'),
  ],
  verifyCheckpoint: [
    undoable('openReadViews', 'pinning the checkpoint and opening its disks to be read', 2),
    plain('readVolumes', 'reading every disk', 20),
    forward('closeReadViews', 'closing the disks'),
  ],
  pair: [
    undoable('redeemToken', 'showing the token to the other site', 2),
    plain('confirmPeer', 'letting the other site in'),
    plain('awaitPeer', 'waiting to hear from the other site', 2),
    plain('sealPairing', 'finishing at both sites'),
  ],
  // The door is shut first: whatever the other site still tries meanwhile is refused.
  unpair: [
    forward('revokePeer', 'shutting the other site out'),
    forward('removePairVpgs', 'deleting the VPGs between the sites', 4),
    forward('tellUnpaired', 'telling the other site'),
  ],
};
