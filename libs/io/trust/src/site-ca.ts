import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import type { WallClockMs } from '@tidemark/base';
import { isIP } from 'node:net';
import { type CaCertificate, makeCaCertificate, readCaCertificates, type SiteName } from './ca-certificate.js';
import { keyOfRequest } from './certificate-request.js';
import { type ComponentName, isRole, isTrustId, nameUri } from './component-name.js';
import { FileSet } from './file-set.js';
import { TrustError } from './trust-error.js';
import { ALGORITHM, DAY_MS, HOUR_MS, makeKeys, newSerial, publicDerOfKey, publicKeyDer, signingKey, wholeSeconds } from './x509.js';
import { timeText } from './time-text.js';

export const LEAF_LIFETIME_MS = 90 * DAY_MS;
export const CA_LIFETIME_MS = 3653 * DAY_MS;
/** How far a peer's clock may be behind ours: certificates begin that much earlier, short ones a tenth of their life. */
const CLOCK_TOLERANCE_MS = HOUR_MS;
const HOSTS_MAX = 16;
const HOST_NAME = /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$/;

const FILES = ['ca.pem', 'ca-key.pem', 'next-key.pem'] as const;

export interface IssuedCertificate {
  /** The leaf, then the CA that signed it. */
  readonly certificatePem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/**
 * `steady`: one CA. `announced`: a second one is there for everybody to trust, the first still signs. `switched`: the second signs, the
 * first is still trusted, its key is gone.
 */
export type CaPhase = 'steady' | 'announced' | 'switched';

interface CaState {
  /** Newest first. */
  readonly trusted: readonly CaCertificate[];
  readonly keyPem: string;
  /** The newest one's key while it does not sign yet, else ''. */
  readonly nextKeyPem: string;
}

/** The site's own CA; only its ZVM has it. Each change replaces all its files at once, so a crash leaves it before or after. */
export class SiteCa {
  readonly #files: FileSet<(typeof FILES)[number]>;
  #lastStep: Promise<void> = Promise.resolve();

  private constructor(
    readonly folder: string,
    readonly site: SiteName,
    private readonly nowMs: WallClockMs,
    private state: CaState,
  ) {
    this.#files = filesIn(folder);
  }

  /** Throws TRUST_FILE: keys that others can read, files that do not belong together, a CA of another site. */
  static async openOrMake(folder: string, site: SiteName, nowMs: WallClockMs): Promise<SiteCa> {
    if (!isTrustId(site.siteId)) throw new TrustError('TRUST_REQUEST', `'${site.siteId}' can be no site's id`);
    const kept = await readState(folder, site);
    if (kept) return new SiteCa(folder, site, nowMs, kept);
    const made = await makeCa(site, nowMs());
    const ca = new SiteCa(folder, site, nowMs, { trusted: [made.certificate], keyPem: made.keyPem, nextKeyPem: '' });
    await ca.#save(ca.state);
    return ca;
  }

  /** PEM, the one that signs first; two while the CA rotates. Whose certificate another one than the first has signed renews it. */
  get trustedPem(): readonly string[] {
    const signer = this.#signer();
    return [signer, ...this.state.trusted.filter((ca) => ca !== signer)].map(({ pem }) => pem);
  }

  /** The newest CA, which signs next if it does not already. */
  get newestPem(): string {
    return this.state.trusted[0]?.pem ?? this.signerPem;
  }

  get phase(): CaPhase {
    if (this.state.trusted.length === 1) return 'steady';
    return this.state.nextKeyPem === '' ? 'switched' : 'announced';
  }

  /** When the CA that signs ends. */
  get notAfterMs(): number {
    return this.#signer().notAfterMs;
  }

  /** When the oldest CA that is trusted ends: while one rotates, the one that is to go. */
  get oldestNotAfterMs(): number {
    return this.state.trusted.at(-1)?.notAfterMs ?? this.notAfterMs;
  }

  /** PEM of the certificate that signs now. */
  get signerPem(): string {
    return this.#signer().pem;
  }

  /**
   * Signs a request. Nothing of it but its key is used: the name is `name`, the addresses are `hosts` (DNS names or IP addresses).
   * It ends with the CA at the latest. Throws TRUST_REQUEST; TRUST_EXPIRED when the CA itself is over.
   */
  async issue(requestPem: string, name: ComponentName, hosts: readonly string[], lifetimeMs = LEAF_LIFETIME_MS): Promise<IssuedCertificate> {
    const publicKey = await keyOfRequest(requestPem);
    this.#assertName(name);
    if (hosts.length > HOSTS_MAX) throw new TrustError('TRUST_REQUEST', `${hosts.length} addresses in one certificate: at most ${HOSTS_MAX}`);
    const signer = this.#signer();
    const life = this.#lifeOf(signer, lifetimeMs);
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: newSerial(),
      subject: [{ CN: [`${name.role} ${name.instanceId}`.slice(0, 64)] }],
      issuer: signer.certificate.subjectName,
      notBefore: wholeSeconds(life.notBeforeMs),
      notAfter: wholeSeconds(life.notAfterMs),
      signingAlgorithm: ALGORITHM,
      publicKey,
      signingKey: await signingKey(this.state.keyPem),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        new x509.SubjectAlternativeNameExtension([{ type: 'url', value: nameUri(name) }, ...hosts.map(hostName)]),
        await x509.AuthorityKeyIdentifierExtension.create(signer.certificate.publicKey),
        await x509.SubjectKeyIdentifierExtension.create(publicKey),
      ],
    });
    const { notBefore, notAfter } = certificate;
    return { certificatePem: `${certificate.toString('pem')}\n${signer.pem}`, notBeforeMs: notBefore.getTime(), notAfterMs: notAfter.getTime() };
  }

  #assertName(name: ComponentName): void {
    if (name.siteId !== this.site.siteId) throw new TrustError('TRUST_REQUEST', `site ${this.site.siteId} signs no certificate of site ${name.siteId}`);
    if (!isRole(name.role) || !isTrustId(name.instanceId)) throw new TrustError('TRUST_REQUEST', `'${nameUri(name)}' can be no component's name`);
  }

  #lifeOf(signer: CaCertificate, lifetimeMs: number): { notBeforeMs: number; notAfterMs: number } {
    const nowMs = this.nowMs();
    if (nowMs >= signer.notAfterMs) {
      throw new TrustError('TRUST_EXPIRED', `the site's CA ended at ${timeText(signer.notAfterMs)}, this machine's clock says ${timeText(nowMs)}: rotate the CA, or mend the clock`);
    }
    if (nowMs < signer.notBeforeMs) {
      throw new TrustError('TRUST_NOT_YET_VALID', `the site's CA begins at ${timeText(signer.notBeforeMs)}, this machine's clock says ${timeText(nowMs)}: mend the clock`);
    }
    const toleranceMs = Math.min(CLOCK_TOLERANCE_MS, lifetimeMs / 10);
    return { notBeforeMs: Math.max(signer.notBeforeMs, nowMs - toleranceMs), notAfterMs: Math.min(signer.notAfterMs, nowMs + lifetimeMs) };
  }

  /** Makes the next CA and trusts it beside the present one, which signs on: everybody has to hear of it first. Nothing to do while one rotates. */
  async announceNext(): Promise<void> {
    await this.#step('steady', async ({ trusted, keyPem }) => {
      const made = await makeCa(this.site, this.nowMs());
      return { trusted: [made.certificate, ...trusted], keyPem, nextKeyPem: made.keyPem };
    });
  }

  /** From now on the next CA signs; the key of the one before is gone for good. */
  async switchToNext(): Promise<void> {
    await this.#step('announced', ({ trusted, nextKeyPem }) => ({ trusted, keyPem: nextKeyPem, nextKeyPem: '' }));
  }

  /** The CA before is trusted no more: every certificate must be of the new one by now. */
  async retireOld(): Promise<void> {
    await this.#step('switched', (state) => ({ ...state, trusted: state.trusted.slice(0, 1) }));
  }

  /** One step after the other: of two that are asked for at once the second finds that the first was taken. */
  async #step(from: CaPhase, next: (state: CaState) => CaState | Promise<CaState>): Promise<void> {
    const mine = this.#lastStep.then(async () => {
      if (this.phase === from) await this.#save(await next(this.state));
    });
    this.#lastStep = mine.catch(() => undefined);
    await mine;
  }

  async #save(state: CaState): Promise<void> {
    await this.#files.write({ 'ca.pem': state.trusted.map(({ pem }) => pem).join(''), 'ca-key.pem': state.keyPem, 'next-key.pem': state.nextKeyPem });
    this.state = state;
  }

  #signer(): CaCertificate {
    const signer = signerOf(this.state);
    if (!signer) throw new TrustError('TRUST_FILE', `${this.folder} holds no CA certificate for its key`);
    return signer;
  }
}

const filesIn = (folder: string): FileSet<(typeof FILES)[number]> => new FileSet(folder, FILES);

/** While a CA is announced the last one signs, else the newest. */
function signerOf({ trusted, nextKeyPem }: CaState): CaCertificate | undefined {
  return nextKeyPem === '' ? trusted[0] : trusted.at(-1);
}

async function readState(folder: string, site: SiteName): Promise<CaState | undefined> {
  const texts = await filesIn(folder).read();
  if (!texts) return undefined;
  const state: CaState = {
    trusted: readCaCertificates(texts['ca.pem'], `${folder}/current/ca.pem`, site.siteId),
    keyPem: texts['ca-key.pem'],
    nextKeyPem: texts['next-key.pem'],
  };
  const signer = signerOf(state);
  if (!signer || !publicDerOfKey(state.keyPem, `${folder}/current/ca-key.pem`, 'TRUST_FILE').equals(publicKeyDer(signer))) {
    throw new TrustError('TRUST_FILE', `${folder}/current: ca-key.pem is not the key of ca.pem; bring the folder back from a backup`);
  }
  return state;
}

async function makeCa(site: SiteName, nowMs: number): Promise<{ certificate: CaCertificate; keyPem: string }> {
  const { keys, keyPem } = await makeKeys();
  const pem = await makeCaCertificate(site, keys, { notBeforeMs: nowMs - CLOCK_TOLERANCE_MS, notAfterMs: nowMs + CA_LIFETIME_MS });
  const [certificate] = readCaCertificates(pem, 'the new CA', site.siteId);
  if (!certificate) throw new TrustError('TRUST_CERTIFICATE', 'the new CA cannot be read');
  return { certificate, keyPem };
}

function hostName(host: string): { type: 'ip' | 'dns'; value: string } {
  if (isIP(host) !== 0) return { type: 'ip', value: host };
  if (!HOST_NAME.test(host)) throw new TrustError('TRUST_REQUEST', `'${host.slice(0, 100)}' is neither an IP address nor a host name`);
  return { type: 'dns', value: host };
}
