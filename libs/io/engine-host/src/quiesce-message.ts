import { decodeControl } from '@tidemark/frame';

/** Between the leader of a VPG's checkpoints and the other protecting VRAs, for application-consistent ones. */
export interface QuiesceMessage {
  readonly type: 'quiesce';
  readonly vpgId: string;
  readonly requestId: string;
  /** `freeze`, `thaw`: the leader asks. `frozen`, `unfrozen`: the answer to `freeze`; `unfrozen` says why not, and nothing of it is frozen then. */
  readonly kind: 'freeze' | 'frozen' | 'unfrozen' | 'thaw';
  readonly reason: string;
}

const REASON_CHARACTERS_MAX = 1000;

export const quiesceMessage = (message: Omit<QuiesceMessage, 'type'>): QuiesceMessage => ({ type: 'quiesce', ...message, reason: message.reason.slice(0, REASON_CHARACTERS_MAX) });

/** Throws ProtocolError for what is no such message. */
export function decodeQuiesceMessage(body: Uint8Array): QuiesceMessage {
  const { fields } = decodeControl(body);
  const message: QuiesceMessage = {
    type: 'quiesce',
    vpgId: fields.text('vpgId', 200),
    requestId: fields.text('requestId', 64),
    kind: fields.oneOf('kind', ['freeze', 'frozen', 'unfrozen', 'thaw']),
    reason: fields.freeText('reason', REASON_CHARACTERS_MAX),
  };
  fields.end();
  return message;
}
