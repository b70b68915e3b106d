import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { randomBytes, webcrypto } from 'node:crypto';

/** Certificates of somebody else, for servers that tests talk to. */
export interface TestCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface TestCa extends TestCertificate {
  readonly certificate: x509.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

async function newKeys(): Promise<{ readonly keys: webcrypto.CryptoKeyPair; readonly pem: string }> {
  x509.cryptoProvider.set(webcrypto as never);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as webcrypto.CryptoKeyPair;
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return { keys, pem: `-----BEGIN PRIVATE KEY-----\n${(pkcs8.match(/.{1,64}/g) ?? []).join('\n')}\n-----END PRIVATE KEY-----\n` };
}

const terms = () => ({ serialNumber: `00${randomBytes(15).toString('hex')}`, notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS), signingAlgorithm: ALGORITHM });

export async function newCa(name: string): Promise<TestCa> {
  const { keys, pem } = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    ...terms(), name: [{ CN: [name] }], keys: keys as never, extensions: [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)],
  });
  return { certificate, keys, cert: certificate.toString('pem'), key: pem };
}

export async function issueLeaf(ca: TestCa, address: string): Promise<TestCertificate> {
  const { keys, pem } = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    ...terms(), subject: [{ CN: [address] }], issuer: ca.certificate.subject, publicKey: keys.publicKey as never, signingKey: ca.keys.privateKey as never,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: address }])],
  });
  return { cert: certificate.toString('pem'), key: pem };
}
