import { FileSet, readCertificates, timeText, TrustError } from '@tidemark/trust';
import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { createSecureContext, rootCertificates } from 'node:tls';
import { coversHost, type SiteTrust, type TrustConfig, trustFolder } from './site-trust.js';

export interface ServedCertificate {
  readonly key: string;
  /** The leaf, then the rest of its chain. */
  readonly cert: string;
  /** `site`: of the site's own CA, renewed by itself. `imported`: an operator's, renewed by him. */
  readonly origin: 'site' | 'imported';
}

const FILES = ['key.pem', 'certificate.pem'] as const;
const RSA_BITS_MIN = 2048;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/** The certificate of 9669: the ZVM's own, until an operator imports another one (`trust/rest/current/…`). */
export class RestCertificate {
  readonly #files: FileSet<(typeof FILES)[number]>;
  readonly #listeners = new Set<(served: ServedCertificate) => void>();
  #imported: ServedCertificate | undefined;

  private constructor(
    private readonly config: TrustConfig,
    private readonly trust: SiteTrust,
    private readonly nowMs: () => number,
  ) {
    this.#files = new FileSet(join(trustFolder(config), 'rest'), FILES);
    trust.zvm.onChange(() => {
      if (!this.#imported) this.#tell();
    });
  }

  /** Throws TRUST_FILE. */
  static async open(config: TrustConfig, trust: SiteTrust, nowMs: () => number): Promise<RestCertificate> {
    const certificate = new RestCertificate(config, trust, nowMs);
    await certificate.#read();
    return certificate;
  }

  current(): ServedCertificate {
    if (this.#imported) return this.#imported;
    const { keyPem, certificatePem } = this.trust.zvm.current();
    return { key: keyPem, cert: certificatePem, origin: 'site' };
  }

  onChange(listener: (served: ServedCertificate) => void): void {
    this.#listeners.add(listener);
  }

  /**
   * Serves an operator's certificate from now on: durable, then told to the listener. Throws TRUST_CERTIFICATE or TRUST_EXPIRED for one that clients would
   * not accept; what is served stays as it is then.
   */
  async import(certificatePem: string, keyPem: string): Promise<void> {
    const cert = checkedChain(certificatePem, keyPem, { addresses: [this.config.address], nowMs: this.nowMs() });
    await this.#files.write({ 'key.pem': keyPem.trim() + '\n', 'certificate.pem': cert });
    await this.#read();
    this.#tell();
  }

  /** Back to the certificate of the site's CA. */
  async useOwn(): Promise<void> {
    if (!this.#imported) return;
    await this.#files.remove();
    this.#imported = undefined;
    this.#tell();
  }

  /** Takes up what `zvm import-certificate` has put there meanwhile. */
  async refresh(): Promise<void> {
    const before = this.current();
    await this.#read();
    if (this.current().cert !== before.cert || this.current().key !== before.key) this.#tell();
  }

  async #read(): Promise<void> {
    const texts = await this.#files.read();
    this.#imported = texts && { key: texts['key.pem'], cert: texts['certificate.pem'], origin: 'imported' };
  }

  #tell(): void {
    const served = this.current();
    for (const listener of this.#listeners) listener(served);
  }
}

interface Conditions {
  readonly addresses: readonly string[];
  readonly nowMs: number;
}

/** The chain in the order in which it is served. */
function checkedChain(certificatePem: string, keyPem: string, { addresses, nowMs }: Conditions): string {
  const chain = readCertificates(certificatePem, 'CertificatePem').map(({ pem }) => new X509Certificate(pem));
  const [leaf, ...issuers] = chain;
  if (!leaf) throw refused('CertificatePem holds no certificate');
  const key = privateKey(keyPem);
  if (!leaf.checkPrivateKey(key)) throw refused('PrivateKeyPem is not the key of the first certificate in CertificatePem; the certificate of the server itself comes first');
  assertStrong(createPublicKey(key));
  for (const certificate of chain) assertDates(certificate, nowMs);
  assertChain(leaf, issuers);
  if (leaf.keyUsage !== undefined && !leaf.keyUsage.includes(SERVER_AUTH)) throw refused('the certificate is not meant for servers (extended key usage serverAuth)');
  for (const address of addresses) {
    if (!coversHost(leaf, address)) throw refused(`the certificate does not name ${address}, under which clients reach this site; it names ${leaf.subjectAltName ?? 'nothing'}`);
  }
  const text = chain.map((certificate) => certificate.toString()).join('');
  try {
    createSecureContext({ key: keyPem, cert: text });
  } catch (cause) {
    throw refused(`OpenSSL refuses key and certificate: ${(cause as Error).message}`, cause);
  }
  return text;
}

function privateKey(keyPem: string): KeyObject {
  try {
    return createPrivateKey(keyPem);
  } catch (cause) {
    throw refused('PrivateKeyPem is no private key that can be read: PEM, without a passphrase', cause);
  }
}

function assertStrong(key: KeyObject): void {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'rsa' && (details?.modulusLength ?? 0) < RSA_BITS_MIN) throw refused(`an RSA key of ${details?.modulusLength ?? 0} bits is too short: ${RSA_BITS_MIN} at least`);
  if (type !== 'rsa' && type !== 'ec' && type !== 'ed25519') throw refused(`keys of the kind ${type ?? 'unknown'} are not served: RSA, EC or Ed25519`);
}

function assertDates({ subject, validFromDate, validToDate }: X509Certificate, nowMs: number): void {
  const now = `this machine's clock says ${timeText(nowMs)}`;
  if (validToDate.getTime() < nowMs) throw new TrustError('TRUST_EXPIRED', `the certificate of ${oneLine(subject)} ended at ${timeText(validToDate.getTime())}; ${now}`);
  if (validFromDate.getTime() > nowMs) throw new TrustError('TRUST_NOT_YET_VALID', `the certificate of ${oneLine(subject)} begins at ${timeText(validFromDate.getTime())}; ${now}`);
}

/** Each certificate is signed by the next one; the last by itself or by a CA that every client knows. */
function assertChain(leaf: X509Certificate, issuers: readonly X509Certificate[]): void {
  let last = leaf;
  for (const issuer of issuers) {
    if (!isIssuedBy(last, issuer) || !issuer.ca) throw refused(`${oneLine(issuer.subject)} did not sign ${oneLine(last.subject)}: the order is server, intermediate CAs, root`);
    last = issuer;
  }
  const isComplete = isIssuedBy(last, last) || rootCertificates.some((root) => isIssuedBy(last, new X509Certificate(root)));
  if (!isComplete) throw refused(`the chain ends at ${oneLine(last.subject)}: add the certificate of ${oneLine(last.issuer)} to CertificatePem`);
}

const isIssuedBy = (certificate: X509Certificate, issuer: X509Certificate): boolean => certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
const oneLine = (name: string): string => name.split('\n').join(', ');
const refused = (why: string, cause?: unknown): TrustError => new TrustError('TRUST_CERTIFICATE', why, cause === undefined ? undefined : { cause });
