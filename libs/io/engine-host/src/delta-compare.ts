import { ProtocolError } from '@tidemark/base';
import { decodeHashReply, equalBlocks, type BlockHashes } from '@tidemark/frame';
import type { SyncCompare } from '@tidemark/replication';

interface Pending {
  readonly compare: SyncCompare;
  local: BlockHashes | undefined;
  remote: BlockHashes | undefined;
}

export interface CompareSurroundings {
  ask(compare: SyncCompare & { readonly atSeq: number }): void;
  /** Digests of the protected volume. */
  hash(compare: SyncCompare): Promise<BlockHashes>;
  verdict(compareId: number, equal: Uint8Array): void;
  failed(compare: SyncCompare, error: unknown): void;
  /** So many are over, or given up. */
  ended(count: number): void;
}

const keyOf = ({ volume, offset }: { readonly volume: number; readonly offset: number }): string => `${String(volume)}/${String(offset)}`;

/** Comparisons of one opening of a stream: both sides hash the same piece at the same time, then the digests are compared. */
export class DeltaCompare {
  readonly #pending = new Map<string, Pending>();

  constructor(private readonly around: CompareSurroundings) {}

  start(compare: SyncCompare & { readonly atSeq: number }): void {
    const pending: Pending = { compare, local: undefined, remote: undefined };
    this.#pending.set(keyOf(compare), pending);
    this.around.ask(compare);
    void this.around.hash(compare).then(
      (hashes) => {
        pending.local = hashes;
        this.#judge(pending);
      },
      (error: unknown) => {
        if (this.#take(pending)) this.around.failed(compare, error);
      },
    );
  }

  /** Throws ProtocolError for what was not asked for, or was answered already. */
  reply(body: Uint8Array): void {
    const reply = decodeHashReply(body);
    const pending = this.#pending.get(keyOf(reply));
    if (!pending || pending.remote !== undefined || pending.compare.length !== reply.length) {
      throw new ProtocolError('PROTOCOL_ORDER', `digests of ${String(reply.length)} bytes at ${String(reply.offset)} were not asked for`);
    }
    pending.remote = reply.hashes;
    this.#judge(pending);
  }

  /** The stream is gone: nothing that is still hashed counts. */
  abort(): void {
    const { size } = this.#pending;
    this.#pending.clear();
    if (size > 0) this.around.ended(size);
  }

  #judge(pending: Pending): void {
    const { local, remote, compare } = pending;
    if (local === undefined || remote === undefined || !this.#take(pending)) return;
    this.around.verdict(compare.compareId, equalBlocks(local, remote, compare.length));
  }

  /** False: it was given up meanwhile. */
  #take(pending: Pending): boolean {
    const key = keyOf(pending.compare);
    if (this.#pending.get(key) !== pending) return false;
    this.#pending.delete(key);
    this.around.ended(1);
    return true;
  }
}
