import { type Answer, type Answered, answerOf, DONE } from '../shape/answer.js';
import { list, oneOf, shaped, text, wholeFrom } from '../shape/checks.js';
import { VerificationRefV1, VerificationStartV1, type VerificationV1, VERIFIED_VOLUMES_MAX, type VerifiedVolumeV1 } from './messages.js';

export interface VbaCommand {
  /** null: it says nothing. */
  readonly type: (new () => object) | null;
  /** What it may be answered with. */
  readonly answer: Answer<object>;
}

const volume = shaped<VerifiedVolumeV1>({ vmId: text(200), diskId: text(64), readBytes: wholeFrom(0), sha256: text(64) });
const VERIFICATION: Answer<VerificationV1> = answerOf(shaped<VerificationV1>({
  state: oneOf('reading', 'read', 'failed'), problem: text(4000), readBytes: wholeFrom(0), totalBytes: wholeFrom(0), volumes: list(volume, VERIFIED_VOLUMES_MAX),
}));

/** Everything that a VBA can be told or asked, on its control channel. No answer of its is taken unless it is of the kind said here. */
export const VBA_COMMANDS = {
  'verification.start': { type: VerificationStartV1, answer: DONE },
  'verification.get': { type: VerificationRefV1, answer: VERIFICATION },
  'verification.end': { type: VerificationRefV1, answer: DONE },
  'trust.renew': { type: null, answer: DONE },
} satisfies Record<string, VbaCommand>;

export type VbaTopic = keyof typeof VBA_COMMANDS;

/** What is answered on that topic. */
export type VbaAnswer<Topic extends VbaTopic> = Answered<(typeof VBA_COMMANDS)[Topic]['answer']>;
