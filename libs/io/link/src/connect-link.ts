import { setTimeout as sleep } from 'node:timers/promises';
import { Link, type LinkOptions } from './link.js';
import { LinkError } from './link-error.js';
import type { LinkTarget, LinkTransport } from './transport.js';

export interface ConnectOptions extends LinkTarget {
  readonly link?: LinkOptions;
  readonly transport: LinkTransport;
  /** Default 3000 ms. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** One connection attempt. Throws LINK_UNREACHABLE, or LINK_PEER when somebody else answers. The caller starts the link. */
export async function connectLink(options: ConnectOptions): Promise<Link> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? 3000);
  const signal = options.signal ? AbortSignal.any([timeout, options.signal]) : timeout;
  try {
    return new Link(await options.transport.connect(options, signal), options.link);
  } catch (cause) {
    if (cause instanceof LinkError) throw cause;
    throw new LinkError('LINK_UNREACHABLE', `${options.address}:${options.port}: ${String(cause)}`, { cause });
  }
}

const BACKOFF_MS_MIN = 100;
const BACKOFF_MS_MAX = 2000;

export interface LinkKeeperOptions extends Omit<ConnectOptions, 'signal'> {
  /** Starts the link. Called for each new connection. */
  onLink(link: Link): void;
  /** Attempt failed; again after `retryMs`. */
  onUnreachable?(error: LinkError, retryMs: number): void;
  /** 0 ≤ x < 1, spreads the retries of many VRAs. Default Math.random. */
  readonly random?: () => number;
}

/** Keeps one connection to a peer: connects again, after 100 ms … 2 s, for as long as it is not closed. */
export class LinkKeeper {
  readonly #stopping = new AbortController();
  readonly #done: Promise<void>;
  #link: Link | undefined;

  constructor(private readonly options: LinkKeeperOptions) {
    this.#done = this.#run();
  }

  /** The open link, if any. */
  get link(): Link | undefined {
    return this.#link?.isOpen === true ? this.#link : undefined;
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#link?.close();
    await this.#done;
  }

  async #run(): Promise<void> {
    let backoffMs = BACKOFF_MS_MIN;
    while (!this.#stopping.signal.aborted) {
      const openedAtMs = performance.now();
      const hasOpened = await this.#attempt(backoffMs);
      // A peer that accepts and drops at once is not hammered: only a link that lasted resets the backoff.
      const hasLasted = hasOpened && performance.now() - openedAtMs > BACKOFF_MS_MAX;
      if (hasLasted) backoffMs = BACKOFF_MS_MIN;
      await this.#pause(backoffMs * (0.5 + 0.5 * (this.options.random ?? Math.random)()));
      if (!hasLasted) backoffMs = Math.min(2 * backoffMs, BACKOFF_MS_MAX);
    }
  }

  /** Resolves when the link is gone (true), or with false when there never was one. */
  async #attempt(retryMs: number): Promise<boolean> {
    try {
      this.#link = await connectLink({ ...this.options, signal: this.#stopping.signal });
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      if (!this.#stopping.signal.aborted) this.options.onUnreachable?.(error, retryMs);
      return false;
    }
    if (this.#stopping.signal.aborted) {
      await this.#link.close();
      return true;
    }
    this.options.onLink(this.#link);
    await this.#link.closed;
    return true;
  }

  async #pause(ms: number): Promise<void> {
    try {
      await sleep(ms, undefined, { signal: this.#stopping.signal });
    } catch {
      // only the abort of close() ends it early
    }
  }
}
