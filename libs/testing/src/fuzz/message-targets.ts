import 'reflect-metadata';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import {
  CataloguePutV1, CheckpointDisksRequestV1, CheckpointInsertV1, CheckpointListV1, DesiredStateV1, EnrolmentV1, EpochV1, IdentityRequestV1, PairingConfirmV1, PairingGrantV1, PairingRedeemV1, PeerCheckpointInsertV1, PeerForceSyncV1, PeerSettleV1,
  PeerTakeReverseV1, PeerTrustRenewV1, PeerTrustV1, PeerUnpairV1, PinDropV1, PinPutV1, PreseedCheckV1, ProtectionForceSyncV1, ProtectionSettleV1, RecoveryReleaseV1, RecoveryRemoveV1, RecoveryV1, ViewCloseV1, ViewOpenV1, ViewPromoteV1, VerificationRefV1, VerificationStartV1, VmPowerV1, VpgActV1, VpgPutV1,
} from '@tidemark/contracts';
import { StateFile } from '@tidemark/engine-host';
import { answerMessage } from '@tidemark/nest';
import type { Random } from '../sim/random.js';
import { mutated, mutatedJson } from './mutate.js';
import { FuzzViolation, type FuzzTarget } from './target.js';

const VRA = { vraId: 'r1', address: '127.0.0.1', controlPort: 4007, dataPort: 4008 };
const ID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const MEMBERS = [{ vra: VRA, vmIds: ['vm'] }];
const DESIRED = {
  revision: 3, trust: { sites: [{ siteId: ID, caPem: ['x'], voided: [{ role: 'vra', instanceId: '7', beforeMs: 5 }] }] },
  attachedVms: [{ vmId: 'vm', disks: [{ diskId: 'd', exportName: 'vm-d', path: '/disks/vm', sizeBytes: 4096 }] }],
  protections: [{ vpgId: ID, vmId: 'vm', epoch: 1, diskIds: ['d'], volumeBytes: [4096], recoveringVra: VRA, recoverySiteId: ID, isCompressed: true, priority: 'medium' }],
  barriers: [{ vpgId: ID, version: 1, epoch: 1, intervalMs: 5000, members: MEMBERS }],
  throttle: { bytesPerSecond: 1e6, window: { fromMinute: 1, toMinute: 2, bytesPerSecond: null }, utcOffsetMinutes: 60, share: 0.5 },
};
const RECOVERY = {
  vpgId: ID, vmId: 'vm', protectedSiteId: ID, epoch: 1, recoverers: MEMBERS, volumes: [{ diskId: 'd', sizeBytes: 4096, mirrorPath: '/m' }], journalFolder: '/j', datastore: { path: '/d', capacityBytes: 1e12 }, historyMs: 3.6e6,
  limits: { journalHardBytes: 1e9, journalWarningBytes: null }, thinning: { keepAllMs: 3.6e6, hourlyAfterMs: 8.64e7 }, basis: { basisId: ID, fingerprints: ['f'] },
};
const VIEW = { viewId: ID, vpgId: ID, vmId: 'vm', epoch: 1, checkpointId: 4, purpose: 'test', volumes: [{ diskId: 'd', exportName: 'x' }] };
const NATS_KEY = `U${'A'.repeat(55)}`;
const PEM = '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n';
const CARD = { siteId: ID, name: 'B', location: '', version: '0.1.0', address: '127.0.0.1', port: 9081 };
const VPG_VM = {
  vmId: 'vm', name: 'web', cpuCount: 1, memoryMiB: 512, guestOs: 'Linux', bootGroupId: 'g', recoveryHostId: 'h', recoveryFolderId: null, recoveringVra: VRA, journalFolder: '/j', journalDatastore: { id: 'd', path: '/d', capacityBytes: 1e12 },
  disks: [{ diskId: 'd', sizeBytes: 4096, recoveryDatastoreId: 'd', mirrorPath: '/m' }], nics: [{ nicId: 'n', mac: '', failoverNetworkId: null, isFailoverMacNew: true, testNetworkId: null, isTestMacNew: true }],
};
const RECORD = {
  definition: {
    vpgId: ID, name: 'Shop', protectedSiteId: ID, protectedSiteName: 'A', recoverySiteId: ID, recoverySiteName: 'B', checkpointIntervalMs: 5000, historyMs: 3.6e6, settings: { basic: { name: 'Shop' } }, vms: [VPG_VM],
  },
  state: 'protecting', generation: 1, epoch: 1, epochMax: 1, failover: null, failoverTest: null, lastTestAtMs: null, problem: null, createdAtMs: 1,
};
const RECOVERED = [{ vmId: 'vm', viewId: ID, name: 'web', recoveredVmId: null }];
const FAILED_OVER = {
  ...RECORD, state: 'reversing', failoverTest: { taskId: ID, phase: 'running', checkpointId: 4, startedAtMs: 1, vms: RECOVERED }, failover: {
    taskId: ID, kind: 'move', isReverse: true, phase: 'handedOver', checkpointId: 4, checkpointAtMs: 1, reservedEpoch: 2, commitPolicy: 'None', waitMs: 0, decideAtMs: null, shutdownPolicy: 'Shutdown', shutDownVmIds: ['vm'], vms: RECOVERED,
    settled: [{ vmId: 'vm', fingerprints: ['f'] }],
  },
};
const ENTRY = { checkpointId: 4, atMs: 1, tag: null, kind: 'automatic', epoch: 1, term: 0, vmIds: ['vm'] };
const VOIDED = [{ role: 'vra', instanceId: '7', beforeMs: 5 }];
/** Every request that a VRA, a VBA, a ZVM or a paired site answers, and the answers that are checked as requests are. */
/** Good ones. */
export const PAIRING_GRANT_SAMPLE = { site: CARD, caPem: ['x'], userJwt: 'a.b.c', natsPublicKey: NATS_KEY };
export const PEER_TRUST_SAMPLE = { caPem: ['x'], voided: VOIDED, unawareVras: ['Z-VRA-1'], userJwt: 'a.b.c' };

const MESSAGES: readonly (readonly [new () => object, object])[] = [
  [DesiredStateV1, DESIRED], [RecoveryV1, RECOVERY], [ViewOpenV1, VIEW], [ViewCloseV1, { viewId: ID, epoch: 1 }], [ViewPromoteV1, { viewId: ID, epoch: 1 }], [RecoveryRemoveV1, { vpgId: ID, vmId: 'vm', epoch: 1, isMirrorKept: true }],
  [EpochV1, { vpgId: ID, vmId: 'vm', epoch: 2 }], [CheckpointInsertV1, { vpgId: ID, epoch: 1, tag: 'now' }], [CheckpointListV1, { vpgId: ID, vmId: 'vm', afterChange: 0 }],
  [CheckpointDisksRequestV1, { vpgId: ID, vmId: 'vm', checkpointId: 4 }], [ProtectionForceSyncV1, { vpgId: ID, vmId: 'vm', epoch: 1 }],
  [RecoveryReleaseV1, { vpgId: ID, vmId: 'vm', epoch: 1, moveNumber: 1, journalFolder: '/j' }], [PinPutV1, { vpgId: ID, vmId: 'vm', epoch: 1, name: 'backup', checkpointId: 4, keepForMs: 60_000 }],
  [PinDropV1, { vpgId: ID, vmId: 'vm', epoch: 1, name: 'backup' }], [ProtectionSettleV1, { vpgId: ID, vmId: 'vm', epoch: 1, checkpointId: 4 }], [PreseedCheckV1, { path: '/d/x', sizeBytes: 4096 }],
  [PairingRedeemV1, { secret: 's', site: CARD, caPem: ['x'], natsPublicKey: NATS_KEY }], [PairingConfirmV1, { userJwt: 'a.b.c' }], [PeerTrustRenewV1, { caPem: ['x'], voided: [{ role: 'vra', instanceId: '7', beforeMs: 5 }], natsPublicKey: NATS_KEY }], [PeerUnpairV1, { isTargetKept: true }],
  [VpgPutV1, { record: RECORD }], [VpgActV1, { taskId: ID, action: 'failover', initiatedBy: 'admin', vpgId: ID, input: { CheckpointIdentifier: '4' } }], [PeerCheckpointInsertV1, { vpgId: ID, tag: 'now' }], [PeerForceSyncV1, { vpgId: ID }],
  [CataloguePutV1, { vpgId: ID, baseRevision: 0, revision: 1, isWhole: true, added: [ENTRY], removed: [1] }], [VmPowerV1, { vpgId: ID, vmIds: ['vm'], action: 'on' }],
  [VerificationStartV1, { verificationId: ID, volumes: [{ vmId: 'vm', diskId: 'd', vraId: '1', address: '127.0.0.1', port: 9180, exportName: 'x', sizeBytes: 4096 }] }], [VerificationRefV1, { verificationId: ID }],
  [PeerTakeReverseV1, { taskId: ID, initiatedBy: 'admin', record: FAILED_OVER }], [PeerSettleV1, { vpgId: ID, checkpointId: 4 }],
  [PairingGrantV1, PAIRING_GRANT_SAMPLE], [PeerTrustV1, PEER_TRUST_SAMPLE],
  [IdentityRequestV1, { certificateRequest: PEM, natsPublicKey: NATS_KEY }], [EnrolmentV1, { certificateRequest: PEM, natsPublicKey: NATS_KEY, token: 't', role: 'vra', instanceId: '1', hostId: 'h' }],
];

/** For whoever checks that none is missing; each with one that is good. */
export const fuzzedMessages: ReadonlyMap<new () => object, object> = new Map(MESSAGES);

/** What costs little to send and much to take: depth, length, keys of prototypes. */
export const MONSTERS: readonly ((json: string) => string)[] = [
  () => '['.repeat(200_000), () => '{"a":'.repeat(100_000), (json) => `{"__proto__":${json},"constructor":{"prototype":{"polluted":1}}}`, (json) => json.replace(/"[^"]*"(?=[,}])/, `"${'x'.repeat(250_000)}"`),
  (json) => json.replace(/\[/, `[${'0,'.repeat(100_000)}`), (json) => json.replace(/\{/, '{"polluted":1,"__proto__":{"polluted":1},'), (json) => ' '.repeat(250_000) + json,
];

/** Requests as the control bus takes them from the broker, packed or not: answered with a refusal, or handed on as what they should be. */
const messages: FuzzTarget = {
  name: 'nats-messages',
  gateCount: 500,
  async run(random) {
    const [type, value] = random.pick(MESSAGES);
    const plain = random.chance(0.03) ? Buffer.from(random.pick(MONSTERS)(JSON.stringify(value))) : Buffer.from(mutatedJson(value, random));
    const packed = random.chance(0.3) ? gzipSync(plain, { level: 1 }) : plain;
    let taken: object | undefined;
    const reply = await answerMessage(type, random.chance(0.2) ? mutated(packed, random) : packed, (message) => {
      taken = message;
      return null;
    });
    if (taken === undefined && reply.isOk) throw new FuzzViolation('a message that the handler did not see was answered with success');
    if (taken !== undefined && !(taken instanceof type)) throw new FuzzViolation('the handler saw something that is not of its type');
    if (taken instanceof DesiredStateV1) checkDesired(taken);
    if (({} as { readonly polluted?: unknown }).polluted !== undefined) throw new FuzzViolation('Object.prototype was changed');
  },
};

function checkDesired({ protections, attachedVms, barriers }: DesiredStateV1): void {
  for (const { recoveringVra, epoch } of protections) if (typeof recoveringVra.dataPort !== 'number' || epoch < 1) throw new FuzzViolation('a protection without an address was taken');
  for (const { disks } of attachedVms) for (const { sizeBytes, path } of disks) if (!Number.isInteger(sizeBytes) || typeof path !== 'string') throw new FuzzViolation('a disk without size or path was taken');
  for (const { members } of barriers) for (const { vra } of members) if (typeof vra.controlPort !== 'number') throw new FuzzViolation('a member without an address was taken');
}

/** A state file with any damage is read as it was written, or not at all: never as another document. */
const stateFiles: FuzzTarget = {
  name: 'state-files',
  gateCount: 80,
  async run(random: Random) {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-fuzz-'));
    try {
      const file = new StateFile<typeof DESIRED>(join(folder, 'state.json'), 'it is told anew');
      await file.save(DESIRED);
      const { readFile } = await import('node:fs/promises');
      const bytes = await readFile(file.path);
      await writeFile(file.path, mutated(bytes, random));
      const loaded = await file.load();
      if (JSON.stringify(loaded) !== JSON.stringify(DESIRED)) throw new FuzzViolation('a damaged state file was taken for another document');
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

export const MESSAGE_TARGETS: readonly FuzzTarget[] = [messages, stateFiles];
