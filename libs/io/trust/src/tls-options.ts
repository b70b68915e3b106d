import { constants, type X509Certificate } from 'node:crypto';
import type { ConnectionOptions, TLSSocket, TlsOptions } from 'node:tls';
import type { ComponentIdentity } from './component-identity.js';
import type { ComponentName } from './component-name.js';
import type { ExpectedPeer, TrustBundle } from './trust-bundle.js';
import { TrustError } from './trust-error.js';

/** TLS 1.3, no session tickets: each connection proves itself anew, with what is trusted at that moment. */
const COMMON = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET, rejectUnauthorized: true } as const;

/** For a listener that only components may reach. After the handshake {@link verifyPeer} says which one it is. */
export function serverOptions(identity: ComponentIdentity, bundle: TrustBundle): TlsOptions {
  const { keyPem, certificatePem } = identity.current();
  return { ...COMMON, key: keyPem, cert: certificatePem, ca: bundle.caPem, requestCert: true };
}

/**
 * The server is who `expected` says by the name in its certificate; the address that was dialled plays no part. Without an identity the
 * client shows no certificate: for NATS, where a user's key says who it is, and for a component that is about to enrol.
 */
export function clientOptions(identity: ComponentIdentity | undefined, bundle: TrustBundle, expected: ExpectedPeer = {}, nowMs: () => number = Date.now): ConnectionOptions {
  const own = identity?.current();
  return {
    ...COMMON, ...(own ? { key: own.keyPem, cert: own.certificatePem } : {}), ca: bundle.caPem,
    checkServerIdentity: (_host, peer) => {
      try {
        bundle.verify(peer, nowMs(), expected);
        return undefined;
      } catch (error) {
        return error as Error;
      }
    },
  };
}

export interface VerifiedPeer {
  readonly name: ComponentName;
  /** To be kept by who asks again later: to the side that has dialled, Node 24 hands it out once (the second `getPeerX509Certificate()` is undefined). */
  readonly certificate: X509Certificate | undefined;
}

/**
 * Who is at the other end, after the handshake. Throws a TrustError that says why he is not believed, with both times when it is a
 * matter of dates. A side that wants these words in its log sets `rejectUnauthorized: false` and calls this before it reads a byte.
 */
export function verifyPeer(socket: TLSSocket, bundle: TrustBundle, nowMs: number, expected: ExpectedPeer = {}): VerifiedPeer {
  const certificate = socket.getPeerX509Certificate();
  const name = bundle.verify(certificate, nowMs, expected);
  // Typed as Error; it is OpenSSL's code.
  if (!socket.authorized) throw new TrustError('TRUST_UNKNOWN', `the peer's certificate is not accepted: ${String(socket.authorizationError)}`);
  return { name, certificate };
}
