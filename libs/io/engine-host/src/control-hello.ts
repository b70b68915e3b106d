import { ProtocolError } from '@tidemark/base';
import { decodeControl } from '@tidemark/frame';

/** First of each side on a connection of 4007: which VRA it is, the one that its certificate names. */
export interface ControlHello {
  readonly type: 'hello';
  readonly vraId: string;
}

/** Throws ProtocolError for anything else. */
export function decodeControlHello(body: Uint8Array): ControlHello {
  const { type, fields } = decodeControl(body);
  if (type !== 'hello') throw new ProtocolError('PROTOCOL_ORDER', `control connection begins with ${type}`);
  const hello: ControlHello = { type, vraId: fields.text('vraId', 64) };
  fields.end();
  return hello;
}
