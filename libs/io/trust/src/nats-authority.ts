import { Algorithms, decode, encodeAccount, encodeOperator, encodeUser, type Account, type User } from '@nats-io/jwt';
import { createAccount, createOperator, createUser, fromPublic, fromSeed, type KeyPair } from '@nats-io/nkeys';
import type { SiteName } from './ca-certificate.js';
import { FileSet } from './file-set.js';
import { TrustError } from './trust-error.js';
import { DAY_MS } from './x509.js';

const FILES = ['operator.jwt', 'operator.nk', 'account.jwt', 'account.nk', 'system.jwt', 'system.nk'] as const;
type FileName = (typeof FILES)[number];

/** No user lives that long, so an older revocation revokes nobody. */
const REVOCATION_KEPT_MS = 400 * DAY_MS;
const RESPONSE_TTL_NS = 300e9;
const UNLIMITED = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: 0, disallow_bearer: true };

export interface NatsGrant {
  /** Shown by the server for the connection. */
  readonly name: string;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** `standard` is 4222, `websocket` is 9081. */
  readonly listener: 'standard' | 'websocket';
  readonly notAfterMs: number;
  /** May answer, once each, the requests that it gets, within 5 minutes. */
  readonly answers?: boolean;
  /** Of one message; the server's own limit holds as well. */
  readonly payloadBytesMax: number;
  readonly subscriptionsMax: number;
}

export interface NatsKey {
  /** `U…`: says who the user is, no secret. */
  readonly publicKey: string;
  /** `SU…`: stays where it was made. */
  readonly seed: string;
}

/**
 * NATS operator, the site's account and the system account; only the ZVM has them. The account's claims also hold who is revoked: they are
 * kept here first, then pushed to the server, so a server that lost them gets them again.
 */
export class NatsAuthority {
  readonly #files: FileSet<FileName>;

  private constructor(
    folder: string,
    private texts: Readonly<Record<FileName, string>>,
  ) {
    this.#files = new FileSet(folder, FILES);
  }

  /** Throws TRUST_FILE. */
  static async openOrMake(folder: string, site: SiteName): Promise<NatsAuthority> {
    const files = new FileSet(folder, FILES);
    const kept = await files.read();
    if (kept) {
      assertKeys(kept, folder);
      return new NatsAuthority(folder, kept);
    }
    const made = await makeAccounts(site);
    await files.write(made);
    return new NatsAuthority(folder, made);
  }

  get operatorJwt(): string {
    return this.texts['operator.jwt'];
  }

  /** The site's account: its claims, with everyone who is revoked. */
  get accountJwt(): string {
    return this.texts['account.jwt'];
  }

  /** The site's account, `A…`. */
  get accountPublicKey(): string {
    return keyOf(this.texts['account.nk']).getPublicKey();
  }

  get systemPublicKey(): string {
    return keyOf(this.texts['system.nk']).getPublicKey();
  }

  /** JWT of a user of the site's account. Throws TRUST_REQUEST for what is no user's public key. */
  async user(publicKey: string, grant: NatsGrant): Promise<string> {
    return await this.#sign(publicKey, grant, this.texts['account.nk']);
  }

  /** JWT of a user of the system account, for pushing {@link accountJwt}: `publish: ['$SYS.REQ.CLAIMS.UPDATE']`. */
  async systemUser(publicKey: string, grant: NatsGrant): Promise<string> {
    return await this.#sign(publicKey, grant, this.texts['system.nk']);
  }

  async #sign(publicKey: string, grant: NatsGrant, accountSeed: string): Promise<string> {
    assertUserKey(publicKey);
    if (!Number.isFinite(grant.notAfterMs)) throw new TrustError('TRUST_REQUEST', `NATS user ${grant.name}: a time at which it ends is missing`);
    const rights: Partial<User> = {
      pub: permission(grant.publish),
      sub: permission(grant.subscribe),
      ...(grant.answers === true ? { resp: { max: 1, ttl: RESPONSE_TTL_NS } } : {}),
      payload: grant.payloadBytesMax,
      subs: grant.subscriptionsMax,
      data: -1,
      bearer_token: false,
      allowed_connection_types: [grant.listener === 'standard' ? 'STANDARD' : 'WEBSOCKET'],
    };
    return await encodeUser(grant.name, publicKey, keyOf(accountSeed), rights, { exp: Math.floor(grant.notAfterMs / 1000), algorithm: Algorithms.v2 });
  }

  /**
   * Every user JWT of this key made until `atMs` is void: durable here when it resolves; the server cuts the user's connections when the
   * returned claims are pushed to `$SYS.REQ.CLAIMS.UPDATE`. One who may return gets a new key.
   */
  async revoke(publicKey: string, atMs: number): Promise<string> {
    assertUserKey(publicKey);
    const claims = decode<Account>(this.accountJwt);
    const atSeconds = Math.ceil(atMs / 1000);
    const kept = Object.entries(claims.nats.revocations ?? {}).filter(([, seconds]) => seconds * 1000 > atMs - REVOCATION_KEPT_MS);
    const revocations = { ...Object.fromEntries(kept), [publicKey]: atSeconds };
    const account = keyOf(this.texts['account.nk']);
    const jwt = await encodeAccount(claims.name, account, { ...claims.nats, revocations }, { signer: keyOf(this.texts['operator.nk']), algorithm: Algorithms.v2 });
    const texts = { ...this.texts, 'account.jwt': jwt };
    await this.#files.write(texts);
    this.texts = texts;
    return jwt;
  }

  /** Whether the claims say that this key is void. */
  isRevoked(publicKey: string): boolean {
    return decode<Account>(this.accountJwt).nats.revocations?.[publicKey] !== undefined;
  }

  /** The lines of nats.conf that say whom the server believes. They hold no key. `resolverFolder`: where it keeps accounts. */
  serverConfiguration({ resolverFolder }: { readonly resolverFolder: string }): string {
    return `operator: ${this.operatorJwt}
system_account: ${this.systemPublicKey}
resolver: { type: full, dir: ${JSON.stringify(resolverFolder)}, allow_delete: false, interval: "2m" }
resolver_preload: {
  ${this.systemPublicKey}: ${this.texts['system.jwt']}
  ${this.accountPublicKey}: ${this.accountJwt}
}
`;
  }
}

export function makeNatsKey(): NatsKey {
  const key = createUser();
  return { publicKey: key.getPublicKey(), seed: seedOf(key) };
}

/** A user's JWT and seed as a .creds file has them. */
export const credentials = (jwt: string, seed: string): string =>
  `-----BEGIN NATS USER JWT-----\n${jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`;

/** An empty `allow` allows everything, to NATS. */
const permission = (subjects: readonly string[]): { allow: string[] } | { deny: string[] } => (subjects.length > 0 ? { allow: [...subjects] } : { deny: ['>'] });

async function makeAccounts({ siteId, siteName }: SiteName): Promise<Record<FileName, string>> {
  const [operator, account, system] = [createOperator(), createAccount(), createAccount()];
  const signedByOperator = { signer: operator, algorithm: Algorithms.v2 };
  return {
    'operator.jwt': await encodeOperator(`tidemark ${siteName}`, operator, { system_account: system.getPublicKey() }, { algorithm: Algorithms.v2 }),
    'operator.nk': seedOf(operator),
    'account.jwt': await encodeAccount(`site ${siteId}`, account, { limits: UNLIMITED }, { ...signedByOperator }),
    'account.nk': seedOf(account),
    'system.jwt': await encodeAccount('SYS', system, { limits: UNLIMITED }, { ...signedByOperator }),
    'system.nk': seedOf(system),
  };
}

const seedOf = (key: KeyPair): string => new TextDecoder().decode(key.getSeed());
const keyOf = (seed: string): KeyPair => fromSeed(new TextEncoder().encode(seed));

function assertKeys(texts: Readonly<Record<FileName, string>>, folder: string): void {
  for (const [jwtName, seedName] of [['operator.jwt', 'operator.nk'], ['account.jwt', 'account.nk'], ['system.jwt', 'system.nk']] as const) {
    let isPair: boolean;
    try {
      isPair = decode(texts[jwtName]).sub === keyOf(texts[seedName]).getPublicKey();
    } catch (cause) {
      throw new TrustError('TRUST_FILE', `${folder}/current: ${jwtName} or ${seedName} cannot be read; bring the folder back from a backup`, { cause });
    }
    if (!isPair) throw new TrustError('TRUST_FILE', `${folder}/current: ${seedName} is not the key of ${jwtName}; bring the folder back from a backup`);
  }
}

function assertUserKey(publicKey: string): void {
  try {
    fromPublic(publicKey);
    if (publicKey.startsWith('U')) return;
  } catch {
    // Said below.
  }
  throw new TrustError('TRUST_REQUEST', `'${publicKey.slice(0, 80)}' is no public key of a NATS user (U…)`);
}
