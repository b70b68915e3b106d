import { type ComponentName, parseNameUri } from './component-name.js';
import { FileSet } from './file-set.js';
import { TrustError } from './trust-error.js';
import { publicDerOfKey, publicKeyDer, readCertificates } from './x509.js';

const FILES = ['key.pem', 'certificate.pem', 'ca.pem', 'nats.creds'] as const;

export interface KeyAndCertificate {
  readonly keyPem: string;
  /** The leaf first, then its CA. */
  readonly certificatePem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export interface IdentityParts {
  readonly keyPem: string;
  readonly certificatePem: string;
  /** The own site's CA certificates: all that are trusted at present. */
  readonly caPem: readonly string[];
  /** The component's NATS user, as a .creds file has it. */
  readonly natsCredentials?: string | undefined;
}

export interface CurrentIdentity extends IdentityParts, KeyAndCertificate {}

/** A component's own key, certificate, CA and NATS user: `<folder>/current/{key.pem,certificate.pem,ca.pem,nats.creds}`, replaced as a whole. */
export class ComponentIdentity {
  readonly #listeners = new Set<(identity: CurrentIdentity) => void>();
  #lastChange: Promise<void> = Promise.resolve();

  private constructor(
    readonly folder: string,
    readonly name: ComponentName,
    private kept: CurrentIdentity,
  ) {}

  /** Undefined: it was never enrolled. Throws TRUST_FILE. */
  static async open(folder: string): Promise<ComponentIdentity | undefined> {
    const texts = await new FileSet(folder, FILES).read();
    if (!texts) return undefined;
    const natsCredentials = texts['nats.creds'];
    const parts = { keyPem: texts['key.pem'], certificatePem: texts['certificate.pem'], caPem: [texts['ca.pem']], ...(natsCredentials === '' ? {} : { natsCredentials }) };
    const { name, current } = readParts(parts, `${folder}/current`);
    return new ComponentIdentity(folder, name, current);
  }

  /** Throws TRUST_FILE for a key and a certificate that are not of each other, and for a certificate that names no component. */
  static async store(folder: string, parts: IdentityParts): Promise<ComponentIdentity> {
    const { name, current } = readParts(parts, 'what is to be stored');
    await save(folder, current);
    return new ComponentIdentity(folder, name, current);
  }

  current(): CurrentIdentity {
    return this.kept;
  }

  /** Durable when it resolves; then the listeners are told. A certificate of another component is refused. */
  async replace(parts: IdentityParts): Promise<void> {
    await this.#inTurn(() => this.#replace(parts));
  }

  /**
   * Other CA certificates of the own site, beside the key and the certificate of then: one that is renewed meanwhile stays. Durable when it resolves; nothing
   * happens when they are the same.
   */
  async believe(caPem: (believed: readonly string[]) => readonly string[]): Promise<void> {
    await this.#inTurn(async () => {
      const next = caPem(this.kept.caPem);
      if (next.length > 0 && next.join('') !== this.kept.caPem.join('')) await this.#replace({ ...this.kept, caPem: next });
    });
  }

  /** One change after the other, each made of what the one before has left. */
  async #inTurn(change: () => Promise<void>): Promise<void> {
    const mine = this.#lastChange.then(change);
    this.#lastChange = mine.catch(() => undefined);
    await mine;
  }

  async #replace(parts: IdentityParts): Promise<void> {
    const { name, current } = readParts(parts, 'the renewed certificate');
    const { siteId, role, instanceId } = this.name;
    if (name.siteId !== siteId || name.role !== role || name.instanceId !== instanceId) {
      throw new TrustError('TRUST_CERTIFICATE', `the renewed certificate is of ${name.role} ${name.instanceId} of site ${name.siteId}; this is ${role} ${instanceId} of site ${siteId}`);
    }
    await save(this.folder, current);
    this.kept = current;
    for (const listener of this.#listeners) listener(current);
  }

  /** @returns ends it. */
  onChange(listener: (identity: CurrentIdentity) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get expiresAtMs(): number {
    return this.kept.notAfterMs;
  }

  isRenewalDue(nowMs: number): boolean {
    return isRenewalDue(this.kept, nowMs);
  }
}

/** Two thirds of its life are over. */
export function isRenewalDue({ notBeforeMs, notAfterMs }: { readonly notBeforeMs: number; readonly notAfterMs: number }, nowMs: number): boolean {
  return nowMs >= notBeforeMs + ((notAfterMs - notBeforeMs) * 2) / 3;
}

async function save(folder: string, { keyPem, certificatePem, caPem, natsCredentials }: CurrentIdentity): Promise<void> {
  await new FileSet(folder, FILES).write({ 'key.pem': keyPem, 'certificate.pem': certificatePem, 'ca.pem': caPem.join(''), 'nats.creds': natsCredentials ?? '' });
}

function readParts(parts: IdentityParts, what: string): { name: ComponentName; current: CurrentIdentity } {
  const [leaf] = readCertificates(parts.certificatePem, `the certificate of ${what}`, 'TRUST_FILE');
  const name = parseNameUri(leaf?.uris[0] ?? '');
  if (!leaf || !name || leaf.uris.length !== 1) throw new TrustError('TRUST_FILE', `the certificate of ${what} names no Tidemark component`);
  if (!publicDerOfKey(parts.keyPem, `the key of ${what}`, 'TRUST_FILE').equals(publicKeyDer(leaf))) throw new TrustError('TRUST_FILE', `${what}: the key is not that of the certificate`);
  return { name, current: { ...parts, notBeforeMs: leaf.notBeforeMs, notAfterMs: leaf.notAfterMs } };
}
