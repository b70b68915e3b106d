import { Inject, Injectable } from '@nestjs/common';
import { natsUserLife } from '@tidemark/nest';
import { FileSet, grantedCredentials, isRenewalDue, isTrustId, makeNatsKey, type NatsKey, type PairingToken, parseToken, TrustError } from '@tidemark/trust';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { trustFolder } from '../trust/site-trust.js';

const FILES = ['nats.creds', 'next-key.json', 'token'] as const;

interface PeerKeySet {
  /** This site's user at the peer's broker; '' until it is granted. */
  readonly credentials: string;
  /** Of the user that was asked for and is not granted yet. */
  readonly next: NatsKey | undefined;
  /** While they pair: the token at the site that uses it, its id at the one that made it. */
  readonly token: string;
}

const NONE: PeerKeySet = { credentials: '', next: undefined, token: '' };

/**
 * What this site shows to its peers' brokers, one private folder each (`trust/peers/<siteId>`): secrets stand there and never in the database. A key is durable
 * before its public half is sent, so an answer that is lost can be asked for again.
 */
@Injectable()
export class PeerKeys {
  readonly #sets = new Map<string, PeerKeySet>();
  readonly #listeners = new Map<string, () => void>();
  readonly #folder: string;

  constructor(@Inject(ZVM_CONFIG) config: ZvmConfig) {
    this.#folder = join(trustFolder(config), 'peers');
  }

  /** To be awaited before anything else. @throws TrustError TRUST_FILE */
  async load(): Promise<void> {
    const names = await readdir(this.#folder).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    });
    for (const siteId of names.filter(isTrustId)) {
      const texts = await this.#files(siteId).read();
      if (!texts) continue;
      const next = texts['next-key.json'] === '' ? undefined : natsKeyIn(texts['next-key.json'], this.#files(siteId).path('next-key.json'));
      this.#sets.set(siteId, { credentials: texts['nats.creds'], next, token: texts.token });
    }
  }

  #files(siteId: string): FileSet<(typeof FILES)[number]> {
    return new FileSet(join(this.#folder, siteId), FILES);
  }

  siteIds(): string[] {
    return [...this.#sets.keys()];
  }

  has(siteId: string): boolean {
    return (this.#sets.get(siteId)?.credentials ?? '') !== '';
  }

  /** '' while there are none. */
  credentials(siteId: string): string {
    return this.#sets.get(siteId)?.credentials ?? '';
  }

  /** Two thirds of the user's life are over, or the next one was asked for already. */
  isRenewalDue(siteId: string, nowMs: number): boolean {
    const set = this.#sets.get(siteId);
    if (!set || set.credentials === '') return false;
    const life = natsUserLife(set.credentials);
    return set.next !== undefined || (life !== undefined && isRenewalDue(life, nowMs));
  }

  /** @throws TrustError TRUST_TOKEN when it is gone */
  token(siteId: string): PairingToken {
    return parseToken(this.#sets.get(siteId)?.token ?? '', 'pairing');
  }

  /** As it was given to {@link begin}; '' when there is none (any more). */
  tokenText(siteId: string): string {
    return this.#sets.get(siteId)?.token ?? '';
  }

  /** Begins anew: nothing of an earlier pairing is left. */
  async begin(siteId: string, token: string): Promise<void> {
    await this.#write(siteId, { ...NONE, token });
  }

  /** The key whose public half is to be sent; the same one until it is granted. */
  async nextKey(siteId: string): Promise<NatsKey> {
    const set = this.#sets.get(siteId) ?? NONE;
    if (set.next) return set.next;
    const next = makeNatsKey();
    await this.#write(siteId, { ...set, next });
    return next;
  }

  /** The JWT for {@link nextKey} has come; granted twice is granted once. One that cannot be used leaves the user of before. @throws TrustError TRUST_CERTIFICATE */
  async grant(siteId: string, jwt: string): Promise<void> {
    const set = this.#sets.get(siteId) ?? NONE;
    if (!set.next) return;
    await this.#write(siteId, { ...set, credentials: grantedCredentials(jwt, set.next, `what site ${siteId} grants`), next: undefined });
    this.#listeners.get(siteId)?.();
  }

  /** The pairing stands: its token is not needed any more. */
  async dropToken(siteId: string): Promise<void> {
    const set = this.#sets.get(siteId);
    if (set && set.token !== '') await this.#write(siteId, { ...set, token: '' });
  }

  async remove(siteId: string): Promise<void> {
    this.#sets.delete(siteId);
    await this.#files(siteId).removeFolder();
  }

  /** One listener per site: its link. */
  onChange(siteId: string, listener: () => void): void {
    this.#listeners.set(siteId, listener);
  }

  async #write(siteId: string, set: PeerKeySet): Promise<void> {
    await this.#files(siteId).write({ 'nats.creds': set.credentials, 'next-key.json': set.next ? JSON.stringify(set.next) : '', token: set.token });
    this.#sets.set(siteId, set);
  }
}

function natsKeyIn(text: string, path: string): NatsKey {
  try {
    const { publicKey, seed } = JSON.parse(text) as Partial<NatsKey>;
    if (typeof publicKey === 'string' && typeof seed === 'string') return { publicKey, seed };
  } catch {
    // Said below.
  }
  throw new TrustError('TRUST_FILE', `${path} cannot be read; bring it back from a backup, or remove the folder of that site and pair with it again`);
}
