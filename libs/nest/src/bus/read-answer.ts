import { shownText } from '@tidemark/base';
import type { Answer } from '@tidemark/contracts';
import { checkMessage } from './answer.js';
import { ControlError } from './control-error.js';
import { decodeMessage, isPacked } from './message-codec.js';
import { Turnstile } from './turnstile.js';

/** As for requests: a packed answer may become 64 MiB. Places of their own, because a request may be answered with what another answer says. */
const PACKED_AT_ONCE = 4;
const packed = new Turnstile(PACKED_AT_ONCE);

const CODE = /^[A-Z][A-Z0-9_]{0,99}$/;
/** It goes into tasks, events and logs. */
const REASON_LENGTH_MAX = 4000;

/**
 * The one place where answers come in: what is in `bytes`, in the shape that the question has an answer of, or the responder's refusal as CONTROL_REFUSED. Whoever answers may be broken or taken over: anything else is
 * CONTROL_INVALID that names `what`.
 */
export async function readAnswer<R extends object>(bytes: Uint8Array, answer: Answer<R>, what: string): Promise<R> {
  return isPacked(bytes) ? await packed.pass(() => read(bytes, answer, what)) : await read(bytes, answer, what);
}

async function read<R extends object>(bytes: Uint8Array, answer: Answer<R>, what: string): Promise<R> {
  const result = resultIn(await decoded(bytes, what), what);
  if ('type' in answer) return await checkMessage(answer.type, result, what);
  const known = answer.read(result);
  if (known === undefined) throw new ControlError('CONTROL_INVALID', `${what}: the answer does not have the form of one to this question`);
  return known;
}

async function decoded(bytes: Uint8Array, what: string): Promise<unknown> {
  try {
    return await decodeMessage(bytes);
  } catch (cause) {
    throw new ControlError('CONTROL_INVALID', `${what}: the answer is not a message`, null, { cause });
  }
}

function resultIn(reply: unknown, what: string): unknown {
  const { isOk, result, code, message } = (typeof reply === 'object' && reply !== null ? reply : {}) as Readonly<Record<'isOk' | 'result' | 'code' | 'message', unknown>>;
  if (isOk === true) return result;
  if (isOk === false && typeof code === 'string' && CODE.test(code) && typeof message === 'string') throw new ControlError('CONTROL_REFUSED', shownText(message.slice(0, REASON_LENGTH_MAX)), code);
  throw new ControlError('CONTROL_INVALID', `${what}: the answer is neither a result nor a refusal`);
}
