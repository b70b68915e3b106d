import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { randomBytes, webcrypto } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { writeDurably } from './durable-file.js';

export interface TlsFiles {
  readonly key: string;
  readonly cert: string;
}

const VALID_YEARS = 10;
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * The REST listener's certificate, self-signed, made at the first start and kept in `stateDir` (`rest-key.pem` mode 0600,
 * `rest-cert.pem`). Names: `address` and localhost.
 */
export async function loadOrMakeCertificate(stateDir: string, names: { readonly address: string; readonly siteName: string }): Promise<TlsFiles> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const keyFile = join(stateDir, 'rest-key.pem');
  const certFile = join(stateDir, 'rest-cert.pem');
  const kept = await Promise.all([readText(keyFile), readText(certFile)]);
  if (kept[0] !== undefined && kept[1] !== undefined) return { key: kept[0], cert: kept[1] };
  const made = await makeCertificate(names);
  await writeDurably(keyFile, made.key, 0o600);
  // The certificate comes last: a crash in between leaves a key alone, and the next start makes both anew.
  await writeDurably(certFile, made.cert, 0o644);
  return made;
}

async function makeCertificate({ address, siteName }: { readonly address: string; readonly siteName: string }): Promise<TlsFiles> {
  x509.cryptoProvider.set(webcrypto as never);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const notBefore = new Date(Date.now() - 3_600_000);
  const notAfter = new Date(notBefore);
  notAfter.setFullYear(notAfter.getFullYear() + VALID_YEARS);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: `00${randomBytes(15).toString('hex')}`,
    name: [{ CN: [`Tidemark ZVM ${siteName}`] }],
    notBefore,
    notAfter,
    signingAlgorithm: ALGORITHM,
    keys: keys as never,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.1']),
      new x509.SubjectAlternativeNameExtension([
        { type: isIP(address) ? 'ip' : 'dns', value: address },
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
      ]),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const key = `-----BEGIN PRIVATE KEY-----\n${(pkcs8.match(/.{1,64}/g) ?? []).join('\n')}\n-----END PRIVATE KEY-----\n`;
  return { key, cert: `${certificate.toString('pem')}\n` };
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
