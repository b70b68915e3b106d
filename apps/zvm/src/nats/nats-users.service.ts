import { Inject, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { ControlBus, type NatsRights } from '@tidemark/nest';
import { IsNull, MoreThan, Not } from 'typeorm';
import { Clock } from '../clock.js';
import { messageOf, ZvmError } from '../errors.js';
import { Database } from '../persistence/database.js';
import { NatsUserEntity } from '../persistence/entities.js';
import { SiteTrust } from '../trust/site-trust.js';

/** Nest injection token of the {@link ControlBus} on the system account of this site's NATS. */
export const SYSTEM_BUS = Symbol('SystemBus');

export interface NatsUserOwner {
  readonly kind: 'vra' | 'vba' | 'peer' | 'pairing';
  readonly id: string;
}

export interface NatsUserWish {
  readonly owner: NatsUserOwner;
  readonly publicKey: string;
  readonly rights: NatsRights;
  readonly notAfterMs: number;
}

/** Signs NATS users and takes them back. Who was signed is known before it can connect, so a revocation finds everyone. */
@Injectable()
export class NatsUsers implements OnModuleInit {
  readonly #log = new Logger(NatsUsers.name);
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly trust: SiteTrust,
    @Inject(SYSTEM_BUS) private readonly system: ControlBus,
  ) {}

  /** A broker that was away, or lost its files, gets the claims of today before anything else happens. */
  onModuleInit(): void {
    this.system.onConnected(() => void this.#push().catch((error: unknown) => this.#log.error(messageOf(error))));
    this.database.onReady(async () => await this.#serially(async () => await this.#revokeForgotten()));
  }

  /** Users that the database knows as revoked and the claims do not: the trust folder was brought back from a backup. */
  async #revokeForgotten(): Promise<void> {
    const now = new Date(this.clock.nowMs());
    const revoked = await this.database.use((db) => db.findBy(NatsUserEntity, { revokedAt: Not(IsNull()), expiresAt: MoreThan(now) }));
    const forgotten = revoked.filter(({ publicKey }) => !this.trust.nats.isRevoked(publicKey));
    for (const { publicKey } of forgotten) await this.trust.nats.revoke(publicKey, now.getTime());
    if (forgotten.length > 0 && this.system.isConnected) await this.#push().catch((error: unknown) => this.#log.error(messageOf(error)));
  }

  /** The user's JWT. @throws ZvmError ZVM_DATABASE_DOWN, TrustError TRUST_REQUEST */
  async issue({ owner, publicKey, rights, notAfterMs }: NatsUserWish): Promise<string> {
    const row = { publicKey, ownerKind: owner.kind, ownerId: owner.id, createdAt: new Date(this.clock.nowMs()), expiresAt: new Date(notAfterMs), revokedAt: null };
    const jwt = await this.trust.nats.user(publicKey, { ...rights, notAfterMs });
    await this.database.use(async (db) => {
      // One key, one owner: a component that asks with the key of another gets nothing.
      const known = await db.findOneBy(NatsUserEntity, { publicKey });
      if (known && (known.ownerKind !== owner.kind || known.ownerId !== owner.id || known.revokedAt)) throw new ZvmError('ZVM_CONFLICT', 'this NATS key is in use or was revoked: make a new one');
      await db.upsert(NatsUserEntity, row, ['publicKey']);
    });
    return jwt;
  }

  /** Whether there is or was a user of this owner with another key, whose life is not over. */
  async hasOthers({ kind, id }: NatsUserOwner, publicKey: string): Promise<boolean> {
    const where = { ownerKind: kind, ownerId: id, expiresAt: MoreThan(new Date(this.clock.nowMs())), publicKey: Not(publicKey) };
    return await this.database.use((db) => db.existsBy(NatsUserEntity, where));
  }

  /**
   * Takes back every user of an owner but `except`: the broker cuts their connections. Resolves when the broker knows, or, while it is away, when it will be
   * told before anybody can connect for long: at its first connection. @throws ZvmError ZVM_DATABASE_DOWN, ZVM_BROKER_DOWN
   */
  async revoke(owner: NatsUserOwner, { except = '' }: { readonly except?: string } = {}): Promise<void> {
    await this.#serially(async () => {
      const now = new Date(this.clock.nowMs());
      const users = await this.database.use((db) => db.findBy(NatsUserEntity, {
        ownerKind: owner.kind, ownerId: owner.id, revokedAt: IsNull(), expiresAt: MoreThan(now), publicKey: Not(except),
      }));
      if (users.length === 0) return;
      for (const { publicKey } of users) await this.trust.nats.revoke(publicKey, now.getTime());
      if (this.system.isConnected) await this.#push();
      for (const { publicKey } of users) await this.database.use((db) => db.update(NatsUserEntity, { publicKey }, { revokedAt: now }));
    });
  }

  async #push(): Promise<void> {
    const answer = await this.system.requestBytes('$SYS.REQ.CLAIMS.UPDATE', new TextEncoder().encode(this.trust.nats.accountJwt)).catch((cause: unknown) => {
      throw new ZvmError('ZVM_BROKER_DOWN', `the broker does not take the list of revoked users: ${messageOf(cause)}`, { cause });
    });
    const { error } = JSON.parse(new TextDecoder().decode(answer)) as { readonly error?: { readonly description?: string } };
    if (error) throw new ZvmError('ZVM_BROKER_DOWN', `the broker refuses the list of revoked users: ${error.description ?? 'no reason given'}`);
  }

  async #serially(work: () => Promise<void>): Promise<void> {
    const mine = this.#last.then(work);
    this.#last = mine.catch(() => undefined);
    await mine;
  }
}
