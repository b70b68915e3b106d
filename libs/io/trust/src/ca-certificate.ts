import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { createHash, type webcrypto, X509Certificate } from 'node:crypto';
import { parseSiteUri, siteUri } from './component-name.js';
import { TrustError } from './trust-error.js';
import { ALGORITHM, isSignedBy, newSerial, publicKeyDer, readCertificates, type ReadCertificate, wholeSeconds } from './x509.js';

export interface SiteName {
  readonly siteId: string;
  readonly siteName: string;
}

export interface CaCertificate extends ReadCertificate {
  readonly siteId: string;
}

const CAS_MAX = 4;
const POINT_BYTES = 65;

/** The certificate of a site's CA, signed by itself. */
export async function makeCaCertificate({ siteId, siteName }: SiteName, keys: webcrypto.CryptoKeyPair, life: { readonly notBeforeMs: number; readonly notAfterMs: number }): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ CN: [`Tidemark site ${siteName}`] }],
    notBefore: wholeSeconds(life.notBeforeMs),
    notAfter: wholeSeconds(life.notAfterMs),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'url', value: siteUri(siteId) }]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return `${certificate.toString('pem')}\n`;
}

/**
 * The CA certificates in `pem`, all of one site (`siteId` when given). Throws TRUST_CERTIFICATE for anything that is not the certificate of
 * a site's CA: such a text comes from a peer.
 */
export function readCaCertificates(pem: string, what: string, siteId?: string): CaCertificate[] {
  const found = readCertificates(pem, what);
  if (found.length > CAS_MAX) throw new TrustError('TRUST_CERTIFICATE', `${what} holds ${found.length} certificates; a site has at most ${CAS_MAX} CAs`);
  const read: CaCertificate[] = [];
  for (const certificate of found) read.push(readCa(certificate, what, siteId ?? read[0]?.siteId));
  return read;
}

function readCa(found: ReadCertificate, what: string, siteId: string | undefined): CaCertificate {
  const refuse = (why: string): never => {
    throw new TrustError('TRUST_CERTIFICATE', `${what} is not the certificate of a site's CA: ${why}`);
  };
  if (!found.isCa) return refuse('it may not sign others');
  const sites = found.uris.map(parseSiteUri);
  const [own] = sites;
  if (sites.length !== 1 || own === undefined) return refuse('it names no site');
  if (siteId !== undefined && own !== siteId) return refuse(`it names site ${own}, not ${siteId}`);
  const { namedCurve } = found.certificate.publicKey.algorithm as { namedCurve?: string };
  if (namedCurve !== 'P-256') return refuse('its key is not EC P-256');
  if (!isSignedBy(found, found)) return refuse('it is not signed by its own key');
  // OpenSSL picks an issuer by subject and key id before it looks at the signature: a CA that wears another's id would break that one.
  if (!hasOwnKeyId(found)) return refuse('its key id is not that of its key');
  return { ...found, siteId: own };
}

function hasOwnKeyId(found: ReadCertificate): boolean {
  const named = found.certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  // RFC 5280 §4.2.1.2 (1): SHA-1 of the public key's bits, which are the last 65 bytes of a P-256 key.
  const real = createHash('sha1').update(publicKeyDer(found).subarray(-POINT_BYTES)).digest('hex');
  return named?.toLowerCase() === real;
}

/** SHA-256 of the certificate, as `openssl x509 -fingerprint -sha256` prints it. */
export const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;
