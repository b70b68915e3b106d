import { assert } from '@tidemark/base';

export type ReceiverState =
  /** No stream. */
  | 'closed'
  /** The journal is numbering a new incarnation. */
  | 'opening'
  | 'open';

export type ReceiverEvent =
  /** An acceptable `open`, on whatever connection. */
  | 'openTaken'
  | 'incarnationBegan'
  | 'incarnationFailed'
  /** Connection lost, journal broken, fenced, ended. */
  | 'closed';

export const RECEIVER_NEXT: Readonly<Record<ReceiverState, Partial<Record<ReceiverEvent, ReceiverState>>>> = {
  closed: { openTaken: 'opening', closed: 'closed' },
  opening: { openTaken: 'opening', incarnationBegan: 'open', incarnationFailed: 'closed', closed: 'closed' },
  open: { openTaken: 'opening', closed: 'closed' },
};

export function nextReceiverState(state: ReceiverState, event: ReceiverEvent): ReceiverState {
  const next = RECEIVER_NEXT[state][event];
  assert(next !== undefined, `${event} while the stream is ${state}`);
  return next;
}
