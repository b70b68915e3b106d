import { ProtocolError, unreachable } from '@tidemark/base';
import { decodeJson, encodeJson, type JsonFields } from '@tidemark/frame';
import type { RetirementMessage } from './retirement-types.js';
import { TERM_MAX, VERSION_MAX } from './terms.js';
import type { BarrierMessage } from './types.js';

/** Everything that VRAs say to each other on 4007. */
export type ControlMessage = BarrierMessage | RetirementMessage;

const ID_CHARACTERS_MAX = 200;
const REASON_CHARACTERS_MAX = 1000;
const VMS_MAX = 5000;
const U32_MAX = 2 ** 32 - 1;
const WALL_MS_MAX = 8.64e15;
/** Marks older than this are of no use to anyone. */
const ELAPSED_MS_MAX = 3_600_000;

const BARRIER_KINDS = ['hello', 'claim', 'follows', 'beat', 'mark', 'marked', 'unmarked', 'release', 'void', 'outcome', 'refused'] as const;
const RETIREMENT_KINDS = ['ask', 'free', 'retire', 'retired', 'refused', 'withdraw', 'allow'] as const;
const CHECKPOINT_KINDS = ['automatic', 'tagged', 'applicationConsistent'] as const;

/** Body of a control frame. Reasons are cut to what the decoder takes. */
export function encodeControlMessage(message: ControlMessage): Uint8Array {
  if (!('reason' in message)) return encodeJson(message);
  return encodeJson({ ...message, reason: message.reason.slice(0, REASON_CHARACTERS_MAX) });
}

/** A peer's body of a control frame. Throws ProtocolError for whatever is not exactly one of the messages. */
export function decodeControlMessage(body: Uint8Array): ControlMessage {
  const fields = decodeJson(body, 'control message');
  const type = fields.oneOf('type', ['barrier', 'retirement']);
  const message = type === 'barrier' ? barrierMessage(fields) : retirementMessage(fields);
  fields.end();
  return message;
}

const checkpointIdIn = (fields: JsonFields): number => fields.integer('checkpointId', 1);
const reasonIn = (fields: JsonFields): string => fields.freeText('reason', REASON_CHARACTERS_MAX);

function barrierMessage(fields: JsonFields): BarrierMessage {
  const kind = fields.oneOf('kind', BARRIER_KINDS);
  const base = {
    type: 'barrier' as const,
    vpgId: fields.text('vpgId', ID_CHARACTERS_MAX),
    version: fields.integer('version', 1, VERSION_MAX),
    epoch: fields.integer('epoch', 1, U32_MAX),
    term: fields.integer('term', 0, TERM_MAX),
  };
  switch (kind) {
    case 'hello':
      return { ...base, kind, leaderVraId: fields.nullableText('leaderVraId', ID_CHARACTERS_MAX), isLeading: fields.flag('isLeading') };
    case 'claim':
    case 'follows':
    case 'beat':
      return { ...base, kind };
    case 'mark':
      return { ...base, kind, ...markFields(fields) };
    case 'marked':
    case 'release':
      return { ...base, kind, checkpointId: checkpointIdIn(fields) };
    case 'unmarked':
    case 'void':
      return { ...base, kind, checkpointId: checkpointIdIn(fields), reason: reasonIn(fields) };
    case 'outcome':
      return { ...base, kind, checkpointId: checkpointIdIn(fields), isSealed: fields.flag('isSealed'), reason: reasonIn(fields) };
    case 'refused':
      return { ...base, kind, leaderVraId: fields.freeText('leaderVraId', ID_CHARACTERS_MAX) };
    default:
      return unreachable(kind);
  }
}

function markFields(fields: JsonFields) {
  const vmIds = fields.texts('vmIds', { countMax: VMS_MAX, charactersMax: ID_CHARACTERS_MAX });
  if (new Set(vmIds).size !== vmIds.length) throw new ProtocolError('PROTOCOL_LAYOUT', 'control message: a VM named twice');
  return {
    checkpointId: checkpointIdIn(fields),
    atMs: fields.number('atMs', 0, WALL_MS_MAX),
    elapsedMs: fields.number('elapsedMs', 0, ELAPSED_MS_MAX),
    tag: fields.nullableText('tag', ID_CHARACTERS_MAX),
    checkpointKind: fields.oneOf('checkpointKind', CHECKPOINT_KINDS),
    vmIds,
  };
}

function retirementMessage(fields: JsonFields): RetirementMessage {
  const kind = fields.oneOf('kind', RETIREMENT_KINDS);
  const base = {
    type: 'retirement' as const,
    vpgId: fields.text('vpgId', ID_CHARACTERS_MAX),
    epoch: fields.integer('epoch', 1, U32_MAX),
    checkpointId: checkpointIdIn(fields),
  };
  return kind === 'refused' ? { ...base, kind, reason: reasonIn(fields) } : { ...base, kind };
}
