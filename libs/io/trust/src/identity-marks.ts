import { fingerprint } from './ca-certificate.js';
import type { CurrentIdentity } from './component-identity.js';
import { readCertificates } from './x509.js';

/** What a component says of its identity to its manager. Fingerprints: SHA-256 of certificates, as OpenSSL prints them. */
export interface IdentityMarks {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** The CA whose certificate stands behind its own. */
  readonly signedBy: string;
  /** The CA certificates of its own site that it believes. */
  readonly trusts: readonly string[];
}

export function identityMarks({ certificatePem, caPem, notBeforeMs, notAfterMs }: CurrentIdentity): IdentityMarks {
  const [, issuer] = readCertificates(certificatePem, 'the own certificate');
  const cas = caPem.flatMap((pem) => readCertificates(pem, 'the CA'));
  return { notBeforeMs, notAfterMs, signedBy: issuer ? fingerprint(issuer.pem) : '', trusts: cas.map(({ pem }) => fingerprint(pem)) };
}
