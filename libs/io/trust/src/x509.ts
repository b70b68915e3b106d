import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { createPrivateKey, createPublicKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { TrustError, type TrustErrorCode } from './trust-error.js';

x509.cryptoProvider.set(webcrypto as never);

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const PEM_BYTES_MAX = 64 * 1024;
const CERTIFICATES_MAX = 16;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** A certificate that was read, its names in full. */
export interface ReadCertificate {
  readonly pem: string;
  readonly certificate: x509.X509Certificate;
  readonly uris: readonly string[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly isCa: boolean;
}

/** The certificates of a PEM text in its order. Throws `code` (TRUST_CERTIFICATE) for anything else, for none, and for more than 16. */
export function readCertificates(pem: string, what: string, code: TrustErrorCode = 'TRUST_CERTIFICATE'): ReadCertificate[] {
  if (pem.length > PEM_BYTES_MAX) throw new TrustError(code, `${what} has ${pem.length} characters: more than ${PEM_BYTES_MAX} are no certificates`);
  const found = pem.match(CERTIFICATE) ?? [];
  if (found.length === 0 || found.length > CERTIFICATES_MAX) {
    throw new TrustError(code, `${what} holds ${found.length} certificates; 1 to ${CERTIFICATES_MAX} blocks -----BEGIN CERTIFICATE----- are expected`);
  }
  return found.map((block) => parse(block, what, code));
}

function parse(pem: string, what: string, code: TrustErrorCode): ReadCertificate {
  try {
    const read = describe(new x509.X509Certificate(pem));
    assertReadable(read);
    return read;
  } catch (cause) {
    throw new TrustError(code, `${what} is no certificate: ${(cause as Error).message}`, { cause });
  }
}

/** OpenSSL judges signatures, so it has to read what the other parser has read; it refuses more. */
function assertReadable({ pem, certificate }: ReadCertificate): void {
  void new X509Certificate(pem).publicKey;
  void certificate.publicKey.algorithm;
}

/** Throws what the parser throws, for bytes that are no certificate. */
export const readDer = (raw: Uint8Array): ReadCertificate => describe(new x509.X509Certificate(new Uint8Array(raw)));

function describe(certificate: x509.X509Certificate): ReadCertificate {
  const names = certificate.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  return {
    pem: `${certificate.toString('pem')}\n`,
    certificate,
    uris: names.filter((name) => name.type === 'url').map((name) => name.value),
    notBeforeMs: certificate.notBefore.getTime(),
    notAfterMs: certificate.notAfter.getTime(),
    isCa: certificate.getExtension(x509.BasicConstraintsExtension)?.ca === true,
  };
}

/** SubjectPublicKeyInfo in DER: two keys are the same when these are. */
export const publicKeyDer = ({ certificate }: ReadCertificate): Buffer => Buffer.from(certificate.publicKey.rawData);

/** Whether the key of `issuer` made the signature of `signed`, and `issuer` is whom it names as its issuer. */
export function isSignedBy(signed: ReadCertificate, issuer: ReadCertificate): boolean {
  const issuing = new X509Certificate(issuer.pem);
  const leaf = new X509Certificate(signed.pem);
  return leaf.checkIssued(issuing) && leaf.verify(issuing.publicKey);
}

/** The public half of a private key in PEM, as {@link publicKeyDer} has it. Throws `code` for what is no private key, and for a locked one. */
export function publicDerOfKey(keyPem: string, what: string, code: TrustErrorCode): Buffer {
  try {
    return createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'der' });
  } catch (cause) {
    throw new TrustError(code, `${what} is no private key that can be read (PEM, without a passphrase)`, { cause });
  }
}

export async function makeKeys(): Promise<{ readonly keys: webcrypto.CryptoKeyPair; readonly keyPem: string }> {
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
  return { keys, keyPem: pemOf('PRIVATE KEY', pkcs8) };
}

export async function signingKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' });
  return (await webcrypto.subtle.importKey('pkcs8', new Uint8Array(der), ALGORITHM, false, ['sign']));
}

export function pemOf(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der).toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Positive, 15 random bytes (RFC 5280 §4.1.2.2 allows 20). */
export const newSerial = (): string => `00${randomBytes(15).toString('hex')}`;

/** Certificates count in whole seconds. */
export const wholeSeconds = (ms: number): Date => new Date(Math.floor(ms / 1000) * 1000);
