import type { Channel } from '../subjects/subjects.js';
import {
  CheckpointDisksRequestV1, CheckpointInsertV1, CheckpointListV1, EpochV1, PinDropV1, PinPutV1, PreseedCheckV1, ProtectionSettleV1, ViewCloseV1, ViewOpenV1, ViewPromoteV1,
} from './commands.js';
import { BarrierV1, DesiredStateV1, ProtectionForceSyncV1, ProtectionV1, RecoveryReleaseV1, RecoveryRemoveV1, RecoveryV1 } from './desired-state.js';

export interface VraCommand {
  readonly channel: Channel;
  /** null: it says nothing. */
  readonly type: (new () => object) | null;
  /** Where the epoch stands that whoever asks believes in; or why the command has none. */
  readonly epoch: { readonly in: readonly (new () => object)[] } | { readonly exemption: string };
}

const own = <T extends object>(channel: Channel, type: new () => T) => ({ channel, type, epoch: { in: [type] } }) as const;
const wordless = (exemption: string) => ({ channel: 'control', type: null, epoch: { exemption } }) as const;
const exempt = <T extends object>(channel: Channel, type: new () => T, exemption: string) => ({ channel, type, epoch: { exemption } }) as const;

/** Everything that a VRA can be told or asked: a VRA answers nothing that is not in here, and each concerns no VPG or says an epoch (ADR 0044). */
export const VRA_COMMANDS = {
  'state.apply': { channel: 'control', type: DesiredStateV1, epoch: { in: [ProtectionV1, BarrierV1] } },
  'recovery.put': own('control', RecoveryV1),
  'recovery.release': own('control', RecoveryReleaseV1),
  'recovery.remove': own('control', RecoveryRemoveV1),
  'view.open': own('control', ViewOpenV1),
  'view.close': own('control', ViewCloseV1),
  'view.promote': own('control', ViewPromoteV1),
  'pin.put': own('control', PinPutV1),
  'pin.drop': own('control', PinDropV1),
  'epoch.reserve': own('control', EpochV1),
  'epoch.commit': own('control', EpochV1),
  'epoch.burn': own('control', EpochV1),
  'protection.forceSync': own('control', ProtectionForceSyncV1),
  'protection.settle': own('control', ProtectionSettleV1),
  'checkpoint.insert': own('checkpoint', CheckpointInsertV1),
  'checkpoint.list': exempt('checkpoint', CheckpointListV1, 'a question: it changes nothing, each checkpoint in the answer names its epoch, and a manager that is behind must be able to find out'),
  'checkpoint.disks': exempt('checkpoint', CheckpointDisksRequestV1, 'a question: it changes nothing; what is then opened says an epoch'),
  'preseed.check': exempt('control', PreseedCheckV1, 'a question about a file; no VPG has it yet'),
  'status.get': wordless('a question about the VRA as a whole; the answer names the epoch of each protection and recovery'),
  'trust.renew': wordless('about the certificate of the VRA, not about a VPG'),
} satisfies Record<string, VraCommand>;

export type VraTopic = keyof typeof VRA_COMMANDS;

type Said<Type> = Type extends new () => infer Message ? Message : object;

/** What is said on that topic. */
export type VraMessage<Topic extends VraTopic> = Said<(typeof VRA_COMMANDS)[Topic]['type']>;
