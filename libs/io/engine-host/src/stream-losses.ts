import type { SenderStatus } from '@tidemark/replication';
import type { Logger } from './types.js';

/** Writes that the recovery side had acknowledged as durable and did not have when the stream was opened again. */
export interface StreamLoss {
  readonly count: number;
  /** Of the newest, wall clock. */
  readonly atMs: number;
  readonly detail: string;
}

/** What a stream says of losses for as long as it lives: the sender itself forgets the reason with the end of the sync that mends it. */
export class StreamLosses {
  #last: StreamLoss | null = null;

  constructor(
    private readonly stream: string,
    private readonly log: Logger,
  ) {}

  get last(): StreamLoss | null {
    return this.#last;
  }

  /** To be called when the stream was opened: that may have shown a loss. */
  opened({ lostAcknowledgedCount, detail }: Pick<SenderStatus, 'lostAcknowledgedCount' | 'detail'>, wallMs: number): void {
    if (lostAcknowledgedCount <= (this.#last?.count ?? 0)) return;
    this.#last = { count: lostAcknowledgedCount, atMs: wallMs, detail };
    this.log.error({ stream: this.stream, ...this.#last }, 'the recovery side has lost writes that it had acknowledged as durable: everything is compared again; look at its datastore');
  }
}
