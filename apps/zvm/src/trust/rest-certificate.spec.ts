import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RestCertificate } from './rest-certificate.js';
import { SiteTrust, type TrustConfig } from './site-trust.js';

const DAY_MS = 86_400_000;
const folder = mkdtempSync(join(tmpdir(), 'zvm-rest-'));
const config: TrustConfig = { siteId: 'aaaaaaaa-0000-4000-8000-000000000000', siteName: 'A', stateDir: join(folder, 'zvm'), address: '127.0.1.1', restHost: '127.0.1.1', natsUrl: 'tls://127.0.1.1', natsPeerPort: 9081, natsPidFile: undefined };
let trust: SiteTrust;
let nowMs = Date.now() + 600_000;

interface Made {
  readonly cert: string;
  readonly key: string;
}

const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'ignore' });
let serial = 0;

/** As a company's own CA makes them. */
function make({ by, names = 'IP:127.0.1.1', isCa = false, days = 30, key = 'ec' }: { by?: Made; names?: string; isCa?: boolean; days?: number; key?: 'ec' | 'rsa1024' }): Made {
  const path = (name: string): string => join(folder, `${serial}-${name}`);
  serial += 1;
  const algorithm = key === 'ec' ? ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'] : ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'];
  openssl('genpkey', ...algorithm, '-out', path('key'));
  writeFileSync(path('ext'), isCa ? 'basicConstraints=critical,CA:true\n' : `basicConstraints=CA:false\nsubjectAltName=${names}\nextendedKeyUsage=serverAuth\n`);
  openssl('req', '-new', '-key', path('key'), '-subj', `/CN=made ${serial}`, '-out', path('req'));
  if (by) {
    writeFileSync(path('bycert'), by.cert);
    writeFileSync(path('bykey'), by.key);
  }
  const signer = by ? ['-CA', path('bycert'), '-CAkey', path('bykey'), '-CAcreateserial'] : ['-signkey', path('key')];
  openssl('x509', '-req', '-in', path('req'), ...signer, '-extfile', path('ext'), '-days', String(days), '-out', path('cert'));
  return { cert: readFileSync(path('cert'), 'utf8'), key: readFileSync(path('key'), 'utf8') };
}

const root = make({ isCa: true });
const intermediate = make({ by: root, isCa: true });
const leaf = make({ by: intermediate });
const chain = leaf.cert + intermediate.cert + root.cert;

beforeAll(async () => {
  trust = await SiteTrust.open(config, Date.now);
});
afterAll(() => rm(folder, { recursive: true }));

const open = (): Promise<RestCertificate> => RestCertificate.open(config, trust, () => nowMs);

describe('the certificate of 9669', () => {
  it('is the ZVM’s own until another one is imported, and again when that goes', async () => {
    const certificate = await open();
    const told: string[] = [];
    certificate.onChange(({ cert }) => told.push(new X509Certificate(cert).subject));
    const own = certificate.current();
    await certificate.import(chain, leaf.key);
    expect(certificate.current()).toMatchObject({ origin: 'imported', cert: chain });
    expect((await open()).current()).toEqual(certificate.current());
    await certificate.useOwn();
    await certificate.useOwn();
    expect((await open()).current()).toEqual(own);
    expect(told).toEqual(['CN=made 3', 'CN=zvm main']);
  });

  it('takes up what a command has imported beside it', async () => {
    const [running, command] = [await open(), await open()];
    let told = 0;
    running.onChange(() => (told += 1));
    await command.import(chain, leaf.key);
    await running.refresh();
    await running.refresh();
    expect([told, running.current().origin]).toEqual([1, 'imported']);
    await command.useOwn();
    await running.refresh();
    expect([told, running.current().origin]).toEqual([2, 'site']);
  });

  it.each<[string, string, string, string]>([
    ['another key', chain, root.key, 'is not the key of the first certificate'],
    ['the chain in another order', intermediate.cert + leaf.cert + root.cert, leaf.key, 'is not the key of the first certificate'],
    ['a gap in the chain', leaf.cert + root.cert, leaf.key, 'did not sign'],
    ['no root', leaf.cert + intermediate.cert, leaf.key, 'add the certificate of CN=made 1'],
    ['the server alone', leaf.cert, leaf.key, 'add the certificate of CN=made 2'],
    ['no certificate', 'hello', leaf.key, 'holds 0 certificates'],
    ['a torn certificate', chain.slice(0, 500), leaf.key, 'certificate'],
    ['no key', chain, 'hello', 'no private key'],
  ])('is not changed by %s', async (_what, cert, key, message) => {
    const certificate = await open();
    await expect(certificate.import(cert, key)).rejects.toMatchObject({ code: 'TRUST_CERTIFICATE', message: expect.stringContaining(message) });
    expect((await open()).current().origin).toBe('site');
  });

  it('is not changed by one with other names, a weak key, a passphrase, or one that is not a server’s', async () => {
    const certificate = await open();
    const cases: [Made, string][] = [
      [make({ names: 'DNS:example.org,IP:127.0.1.2' }), 'does not name 127.0.1.1, under which clients reach this site; it names DNS:example.org, IP Address:127.0.1.2'],
      [make({ key: 'rsa1024' }), 'RSA key of 1024 bits is too short'],
    ];
    for (const [{ cert, key }, message] of cases) await expect(certificate.import(cert, key)).rejects.toThrow(message);
    writeFileSync(join(folder, 'plain'), leaf.key);
    const locked = execFileSync('openssl', ['pkcs8', '-topk8', '-in', join(folder, 'plain'), '-passout', 'pass:x'], { encoding: 'utf8' });
    await expect(certificate.import(chain, locked)).rejects.toThrow('without a passphrase');
  });

  it('is not changed by one whose time is over or has not come, and both times are said', async () => {
    const certificate = await open();
    const own = make({});
    nowMs += 31 * DAY_MS;
    await expect(certificate.import(own.cert, own.key)).rejects.toMatchObject({ code: 'TRUST_EXPIRED', message: expect.stringMatching(/ended at .*clock says/) });
    nowMs -= 40 * DAY_MS;
    await expect(certificate.import(own.cert, own.key)).rejects.toMatchObject({ code: 'TRUST_NOT_YET_VALID', message: expect.stringMatching(/begins at .*clock says/) });
    nowMs += 9 * DAY_MS;
    await certificate.import(own.cert, own.key);
    await certificate.useOwn();
  });
});
