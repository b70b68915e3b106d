import { decode } from '@nats-io/jwt';
import { X509Certificate } from 'node:crypto';
import { readCaCertificates } from './ca-certificate.js';
import type { IdentityParts } from './component-identity.js';
import { type ComponentName, nameUri } from './component-name.js';
import { credentials, type NatsKey } from './nats-authority.js';
import { TrustBundle } from './trust-bundle.js';
import { TrustError } from './trust-error.js';

export interface GrantedIdentity {
  /** The leaf first. */
  readonly certificatePem: string;
  readonly caPem: readonly string[];
  readonly natsJwt: string;
}

/**
 * What a site has granted for keys that were made here, looked at before it replaces what works: a component with a certificate that its own CA does not vouch for, or with the user of another key, would be
 * shut out until somebody gives it a new token. Throws TRUST_CERTIFICATE, TRUST_UNKNOWN.
 */
export function grantedParts({ certificatePem, caPem, natsJwt }: GrantedIdentity, { name, keyPem, natsKey }: { readonly name: ComponentName; readonly keyPem: string; readonly natsKey: NatsKey }): IdentityParts {
  const what = `what the site answers to ${nameUri(name)}`;
  if (caPem.length === 0) throw new TrustError('TRUST_CERTIFICATE', `${what} has no CA`);
  for (const pem of caPem) readCaCertificates(pem, `the CA in ${what}`, name.siteId);
  const leaf = certificateIn(certificatePem, what);
  // Its dates go by the site's clock: a component whose own is wrong is told so where it is used.
  new TrustBundle([{ siteId: name.siteId, caPem }]).verify(leaf, leaf.validFromDate.getTime(), name);
  return { keyPem, certificatePem, caPem, natsCredentials: grantedCredentials(natsJwt, natsKey, what) };
}

/** As a .creds file has them, of a user that was granted for a key that was made here. Throws TRUST_CERTIFICATE for one that cannot be used with it, which `what` names. */
export function grantedCredentials(natsJwt: string, natsKey: NatsKey, what: string): string {
  if (userIn(natsJwt, what) !== natsKey.publicKey) throw new TrustError('TRUST_CERTIFICATE', `${what} has a NATS user of another key`);
  return credentials(natsJwt, natsKey.seed);
}

function certificateIn(pem: string, what: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new TrustError('TRUST_CERTIFICATE', `${what} has no certificate that can be read`, { cause });
  }
}

/** Of a JWT whose signature holds. */
function userIn(jwt: string, what: string): string {
  try {
    return decode(jwt).sub;
  } catch (cause) {
    throw new TrustError('TRUST_CERTIFICATE', `${what} has no NATS user that can be read`, { cause });
  }
}
