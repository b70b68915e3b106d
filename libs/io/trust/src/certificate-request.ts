import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { TrustError } from './trust-error.js';
import { ALGORITHM, makeKeys } from './x509.js';

export interface CertificateRequest {
  /** PKCS#10. */
  readonly pem: string;
  /** Stays where it was made. */
  readonly keyPem: string;
}

const REQUEST_BYTES_MAX = 16 * 1024;

/** A new EC P-256 key and a request for a certificate of it. The request names nobody: the CA decides the name. */
export async function makeRequest(): Promise<CertificateRequest> {
  const { keys, keyPem } = await makeKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: [{ CN: ['Tidemark component'] }], keys, signingAlgorithm: ALGORITHM });
  return { pem: `${request.toString('pem')}\n`, keyPem };
}

/** The public key of a request whose sender has shown to hold the private one. Throws TRUST_REQUEST. */
export async function keyOfRequest(pem: string): Promise<x509.PublicKey> {
  if (pem.length > REQUEST_BYTES_MAX) throw new TrustError('TRUST_REQUEST', `a certificate request of ${pem.length} characters: at most ${REQUEST_BYTES_MAX}`);
  let request: x509.Pkcs10CertificateRequest;
  let isProven: boolean;
  try {
    request = new x509.Pkcs10CertificateRequest(pem);
    isProven = await request.verify();
  } catch (cause) {
    throw new TrustError('TRUST_REQUEST', `this is no certificate request (PKCS#10 in PEM): ${(cause as Error).message}`, { cause });
  }
  if (!isProven) throw new TrustError('TRUST_REQUEST', 'the certificate request is not signed with the key that it names');
  const { name, namedCurve } = request.publicKey.algorithm as { name?: string; namedCurve?: string };
  if (name !== 'ECDSA' || namedCurve !== 'P-256') throw new TrustError('TRUST_REQUEST', `the request's key is ${name ?? 'unknown'} ${namedCurve ?? ''}; EC P-256 is expected`);
  return request.publicKey;
}
