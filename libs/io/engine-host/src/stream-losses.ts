import type { SenderStatus } from '@tidemark/replication';

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

  get last(): StreamLoss | null {
    return this.#last;
  }

  /** To be called when the stream was opened. The loss, if that has shown one. */
  opened({ lostAcknowledgedCount, detail }: Pick<SenderStatus, 'lostAcknowledgedCount' | 'detail'>, wallMs: number): StreamLoss | undefined {
    if (lostAcknowledgedCount <= (this.#last?.count ?? 0)) return undefined;
    this.#last = { count: lostAcknowledgedCount, atMs: wallMs, detail };
    return this.#last;
  }
}
