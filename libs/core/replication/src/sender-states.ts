import { assert, ProtocolError } from '@tidemark/base';

/** The stream at the recovering VRA. */
export type LinkState =
  /** No stream: the host opens one. */
  | 'down'
  /** `open` was sent. */
  | 'opening'
  | 'open'
  /** The other side does not take the stream. The host asks again later, unless it is fenced. */
  | 'refused';

export type LinkEvent =
  | 'openSent'
  | 'opened'
  | 'refused'
  /** The connection, or the stream alone, was closed. */
  | 'lost'
  /** The queue was dropped into the bitmap: numbers that the open stream expects are gone, so it is opened anew. */
  | 'queueDropped';

/** An absent cell is illegal: the peer's fault for what the peer sends, ours otherwise. */
export const LINK_NEXT: Readonly<Record<LinkState, Partial<Record<LinkEvent, LinkState>>>> = {
  // A refusal may still be under way when the stream was given up here.
  down: { openSent: 'opening', refused: 'refused', lost: 'down', queueDropped: 'down' },
  opening: { opened: 'open', refused: 'refused', lost: 'down', queueDropped: 'opening' },
  open: { refused: 'refused', lost: 'down', queueDropped: 'down' },
  refused: { openSent: 'opening', refused: 'refused', lost: 'refused', queueDropped: 'refused' },
};

export function nextLinkState(state: LinkState, event: LinkEvent): LinkState {
  const next = LINK_NEXT[state][event];
  if (next === undefined && event === 'opened') throw new ProtocolError('PROTOCOL_ORDER', `'${event}' for a stream that is ${state}`);
  assert(next !== undefined, `${event} while the stream is ${state}`);
  return next;
}
