import { type Answer, type Answered, DONE } from '../shape/answer.js';
import type { Channel } from '../subjects/subjects.js';
import { CHECKPOINT_DISKS, CHECKPOINT_INSERTED, CHECKPOINT_LISTING, PROTECTION_SETTLED, VRA_STATUS } from './answers.js';
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
  /** What it may be answered with. */
  readonly answer: Answer<object>;
}

const own = <T extends object, A extends Answer<object>>(channel: Channel, type: new () => T, answer: A) => ({ channel, type, epoch: { in: [type] }, answer }) as const;
const wordless = <A extends Answer<object>>(answer: A, exemption: string) => ({ channel: 'control', type: null, epoch: { exemption }, answer }) as const;
const exempt = <T extends object, A extends Answer<object>>(channel: Channel, type: new () => T, { answer, exemption }: { readonly answer: A; readonly exemption: string }) => ({ channel, type, epoch: { exemption }, answer }) as const;

/** Everything that a VRA can be told or asked: a VRA answers nothing that is not in here, and each concerns no VPG or says an epoch (ADR 0044). Nor is an answer of its taken unless it is of the kind said here. */
export const VRA_COMMANDS = {
  'state.apply': { channel: 'control', type: DesiredStateV1, epoch: { in: [ProtectionV1, BarrierV1] }, answer: DONE },
  'recovery.put': own('control', RecoveryV1, DONE),
  'recovery.release': own('control', RecoveryReleaseV1, DONE),
  'recovery.remove': own('control', RecoveryRemoveV1, DONE),
  'view.open': own('control', ViewOpenV1, DONE),
  'view.close': own('control', ViewCloseV1, DONE),
  'view.promote': own('control', ViewPromoteV1, DONE),
  'pin.put': own('control', PinPutV1, DONE),
  'pin.drop': own('control', PinDropV1, DONE),
  'epoch.reserve': own('control', EpochV1, DONE),
  'epoch.commit': own('control', EpochV1, DONE),
  'epoch.burn': own('control', EpochV1, DONE),
  'protection.forceSync': own('control', ProtectionForceSyncV1, DONE),
  'protection.settle': own('control', ProtectionSettleV1, PROTECTION_SETTLED),
  'checkpoint.insert': own('checkpoint', CheckpointInsertV1, CHECKPOINT_INSERTED),
  'checkpoint.list': exempt('checkpoint', CheckpointListV1, { answer: CHECKPOINT_LISTING, exemption: 'a question: it changes nothing, each checkpoint in the answer names its epoch, and a manager that is behind must be able to find out' }),
  'checkpoint.disks': exempt('checkpoint', CheckpointDisksRequestV1, { answer: CHECKPOINT_DISKS, exemption: 'a question: it changes nothing; what is then opened says an epoch' }),
  'preseed.check': exempt('control', PreseedCheckV1, { answer: DONE, exemption: 'a question about a file; no VPG has it yet' }),
  'status.get': wordless(VRA_STATUS, 'a question about the VRA as a whole; the answer names the epoch of each protection and recovery'),
  'trust.renew': wordless(DONE, 'about the certificate of the VRA, not about a VPG'),
} satisfies Record<string, VraCommand>;

export type VraTopic = keyof typeof VRA_COMMANDS;

type Said<Type> = Type extends new () => infer Message ? Message : object;

/** What is said on that topic. */
export type VraMessage<Topic extends VraTopic> = Said<(typeof VRA_COMMANDS)[Topic]['type']>;

/** What is answered on that topic. */
export type VraAnswer<Topic extends VraTopic> = Answered<(typeof VRA_COMMANDS)[Topic]['answer']>;
