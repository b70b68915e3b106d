import { ProtocolError } from '@tidemark/base';
import type { BlockHashes, HashReply, HashRequest } from '@tidemark/frame';
import type { HeadView } from '@tidemark/journal-file';
import type { HashPool } from './hash-pool.js';
import { hashExtent } from './hash-extent.js';

/** Requests that a peer may have waiting; it is told in the specification. */
export const HASH_REQUESTS_MAX = 64;
/** Of those, read at once: the others wait for their turn, so that one stream does not take all slots of the pool. */
const READING_MAX = 4;
/** A head keeps segments from being freed and later checkpoints from being retired, so it is opened anew from time to time. */
const HEAD_AGE_MS_MAX = 30_000;
const HEAD_IDLE_MS_MAX = 3000;

export interface HeadHasherParts {
  readonly pool: HashPool;
  readonly openHead: () => Promise<HeadView>;
  readonly durableSeq: () => number;
  readonly problem: (request: HashRequest, error: unknown) => void;
}

interface OpenHead {
  readonly view: Promise<HeadView>;
  readonly seq: number;
  readonly openedAtMs: number;
  usedAtMs: number;
  users: number;
}

interface Waiting {
  readonly request: HashRequest;
  readonly answer: (reply: HashReply) => void;
}

/** The recovering side of a delta sync: digests of the head (mirror + journal up to the durable position) of one protection. */
export class HeadHasher {
  #head: OpenHead | undefined;
  readonly #retired = new Set<OpenHead>();
  #waiting: Waiting[] = [];
  #readingCount = 0;
  /** Work under way; owned here: close waits for it. */
  readonly #work = new Set<Promise<void>>();
  #isClosed = false;

  constructor(private readonly parts: HeadHasherParts) {}

  /** `answer` is called once, unless the stream is begun anew before. Throws ProtocolError for more than a peer may ask. */
  request(request: HashRequest, answer: (reply: HashReply) => void): void {
    if (this.#isClosed) return;
    if (this.#waiting.length >= HASH_REQUESTS_MAX) throw new ProtocolError('PROTOCOL_LIMIT', `more than ${String(HASH_REQUESTS_MAX)} hash requests`);
    if (request.atSeq > this.parts.durableSeq()) throw new ProtocolError('PROTOCOL_ORDER', `hashes at ${String(request.atSeq)}, which is not acknowledged`);
    this.#waiting.push({ request, answer });
    this.#pump();
  }

  /** Another incarnation: what was asked before is forgotten, and what the head shows may be older than what comes. */
  reset(): void {
    this.#waiting = [];
    this.#retireHead();
  }

  tick(nowMs: number): void {
    const head = this.#head;
    if (head && head.users === 0 && nowMs - head.usedAtMs > HEAD_IDLE_MS_MAX) this.#retireHead();
  }

  /** As {@link reset}; when this resolves nothing holds the journal any more. */
  async stop(): Promise<void> {
    this.reset();
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.stop();
  }

  #pump(): void {
    while (this.#readingCount < READING_MAX) {
      const next = this.#waiting.shift();
      if (!next) return;
      this.#readingCount += 1;
      this.#track(this.#serve(next));
    }
  }

  async #serve({ request, answer }: Waiting): Promise<void> {
    const { volume, offset, length } = request;
    const hashes = await this.#hash(request);
    this.#readingCount -= 1;
    if (this.#isClosed) return;
    answer({ volume, offset, length, hashes });
    this.#pump();
  }

  /** What cannot be read counts as different: it is sent. */
  async #hash(request: HashRequest): Promise<BlockHashes> {
    const head = this.#headAt(request.atSeq);
    head.users += 1;
    try {
      const volume = (await head.view).volumes[request.volume];
      return volume ? await hashExtent(this.parts.pool, volume, request) : 'unreadable';
    } catch (error) {
      if (this.#head === head) this.#retireHead();
      this.parts.problem(request, error);
      return 'unreadable';
    } finally {
      head.users -= 1;
      head.usedAtMs = performance.now();
      if (this.#retired.has(head)) this.#closeIfUnused(head);
    }
  }

  #headAt(atSeq: number): OpenHead {
    const nowMs = performance.now();
    const known = this.#head;
    if (known && known.seq >= atSeq && nowMs - known.openedAtMs < HEAD_AGE_MS_MAX) return known;
    this.#retireHead();
    const head = { view: this.parts.openHead(), seq: this.parts.durableSeq(), openedAtMs: nowMs, usedAtMs: nowMs, users: 0 };
    this.#head = head;
    return head;
  }

  #retireHead(): void {
    const head = this.#head;
    this.#head = undefined;
    if (!head) return;
    this.#retired.add(head);
    this.#closeIfUnused(head);
  }

  #closeIfUnused(head: OpenHead): void {
    if (head.users > 0) return;
    this.#retired.delete(head);
    // One that could not be opened was reported to everyone who wanted to read from it.
    this.#track(head.view.then((view) => view.close()).catch(() => undefined));
  }

  #track(work: Promise<void>): void {
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }
}
