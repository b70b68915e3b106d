import { fingerprint } from './ca-certificate.js';
import type { CurrentIdentity } from './component-identity.js';
import type { TrustedSite } from './trust-bundle.js';
import { readCertificates } from './x509.js';

/** What a component says of its identity to its manager. Fingerprints: SHA-256 of certificates, as OpenSSL prints them. */
export interface IdentityMarks {
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** The CA whose certificate stands behind its own. */
  readonly signedBy: string;
  /** The CA certificates, of its own site and of others, that it believes wherever it meets them: those of the own site at the broker and on the data plane. */
  readonly trusts: readonly string[];
}

/** `sites`: whom the data plane believes, durably. Before it was told anything that is the own site, by what came with the identity. */
export function identityMarks({ certificatePem, caPem, notBeforeMs, notAfterMs }: CurrentIdentity, siteId: string, sites: readonly TrustedSite[]): IdentityMarks {
  const [, issuer] = readCertificates(certificatePem, 'the own certificate');
  const atBroker = fingerprintsOf(caPem);
  const own = sites.find((site) => site.siteId === siteId);
  const ofOwn = own ? fingerprintsOf(own.caPem).filter((print) => atBroker.includes(print)) : atBroker;
  const ofOthers = sites.filter((site) => site !== own).flatMap((site) => fingerprintsOf(site.caPem));
  return { notBeforeMs, notAfterMs, signedBy: issuer ? fingerprint(issuer.pem) : '', trusts: [...ofOwn, ...ofOthers] };
}

const fingerprintsOf = (pems: readonly string[]): string[] => pems.flatMap((pem) => readCertificates(pem, 'the CA')).map(({ pem }) => fingerprint(pem));
