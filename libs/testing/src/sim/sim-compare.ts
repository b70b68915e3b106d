import { hash } from 'node:crypto';
import { BLOCK_BYTES } from '@tidemark/base';
import { decodeHashReply, encodeHashReply, encodeHashRequest, equalBlocks, HASH_BYTES, hashedBlocks, type BlockHashes, type HashRequest } from '@tidemark/frame';
import type { JournalFile } from '@tidemark/journal-file';
import type { Sender, SyncCompare } from '@tidemark/replication';
import type { Volume } from '@tidemark/volume';

function digestsOf(bytes: Uint8Array): Uint8Array {
  const digests = new Uint8Array(hashedBlocks(bytes.byteLength) * HASH_BYTES);
  for (let at = 0, to = 0; at < bytes.byteLength; at += BLOCK_BYTES, to += HASH_BYTES) digests.set(hash('sha256', bytes.subarray(at, at + BLOCK_BYTES), 'buffer'), to);
  return digests;
}

/** What the recovering host answers: digests of a piece of its head, read through a view of it. */
export async function hashReplyOf(journal: JournalFile, { volume, offset, length }: HashRequest, mirror?: Volume): Promise<Uint8Array[]> {
  const head = await journal.openHead();
  try {
    const bytes = new Uint8Array(length);
    await (mirror ?? head.volumes[volume])?.read(offset, bytes);
    return encodeHashReply({ volume, offset, length, hashes: digestsOf(bytes) });
  } finally {
    await head.close();
  }
}

interface Pending {
  readonly compare: SyncCompare;
  local: Uint8Array | undefined;
  remote: BlockHashes | undefined;
}

/** Comparisons of one opening of a stream at the protecting host. */
export class SimCompares {
  readonly #pending = new Map<string, Pending>();

  constructor(private readonly sender: Sender) {}

  /** The body of the request. */
  begin(compare: SyncCompare & { readonly atSeq: number }): Uint8Array {
    this.#pending.set(`${compare.volume}/${compare.offset}`, { compare, local: undefined, remote: undefined });
    return encodeHashRequest(compare);
  }

  /** `bytes` undefined: they cannot be read. */
  read(compare: SyncCompare, bytes: Uint8Array | undefined): void {
    const pending = this.#pending.get(`${compare.volume}/${compare.offset}`);
    if (pending?.compare.compareId !== compare.compareId) return;
    if (bytes === undefined) {
      this.#pending.delete(`${compare.volume}/${compare.offset}`);
      this.sender.compareFailed(compare.compareId);
      return;
    }
    pending.local = digestsOf(bytes);
    this.#judge(pending);
  }

  replied(body: Uint8Array): void {
    const reply = decodeHashReply(body);
    const pending = this.#pending.get(`${reply.volume}/${reply.offset}`);
    if (pending === undefined) return;
    pending.remote = typeof reply.hashes === 'string' ? reply.hashes : reply.hashes.slice();
    this.#judge(pending);
  }

  #judge({ compare, local, remote }: Pending): void {
    if (local === undefined || remote === undefined) return;
    this.#pending.delete(`${compare.volume}/${compare.offset}`);
    this.sender.compared(compare.compareId, equalBlocks(local, remote, compare.length));
  }
}
