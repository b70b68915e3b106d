import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCaCertificates } from './ca-certificate.js';
import { makeRequest } from './certificate-request.js';
import { SiteCa } from './site-ca.js';
import { TrustBundle } from './trust-bundle.js';
import { ALGORITHM, DAY_MS } from './x509.js';

const SITE = { siteId: 'site-a', siteName: 'Zürich' };
const VRA = { siteId: 'site-a', role: 'vra', instanceId: 'v1' } as const;
let folder: string;
let nowMs = Date.parse('2026-11-22T08:00:00Z');
const clock = (): number => nowMs;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'trust-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const certificateOf = (pem: string): X509Certificate => new X509Certificate(pem);

describe('the CA of a site', () => {
  it('is made once, readable by its user alone', async () => {
    const made = await SiteCa.openOrMake(join(folder, 'once'), SITE, clock);
    const again = await SiteCa.openOrMake(join(folder, 'once'), SITE, clock);
    expect(again.trustedPem).toEqual(made.trustedPem);
    const current = join(folder, 'once', await readlink(join(folder, 'once', 'current')));
    for (const name of await readdir(current)) {
      await chmod(join(current, name), 0o640);
      await expect(SiteCa.openOrMake(join(folder, 'once'), SITE, clock)).rejects.toMatchObject({ code: 'TRUST_FILE', message: expect.stringContaining(`chmod 600 ${join(current, name)}`) });
      await chmod(join(current, name), 0o600);
    }
    await chmod(join(folder, 'once'), 0o750);
    await expect(SiteCa.openOrMake(join(folder, 'once'), SITE, clock)).rejects.toThrow(`chmod 700 ${join(folder, 'once')}`);
  });

  it('signs with the name that it was told, not with what the request asks for', async () => {
    const ca = await SiteCa.openOrMake(join(folder, 'names'), SITE, clock);
    const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const forged = await x509.Pkcs10CertificateRequestGenerator.create({
      name: 'CN=zvm main', keys, signingAlgorithm: ALGORITHM,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'url', value: 'tidemark://site-a/zvm/main' }]), new x509.BasicConstraintsExtension(true, 3, true)],
    });
    const issued = certificateOf((await ca.issue(forged.toString('pem'), VRA, ['127.0.1.11', 'host-1.lab'])).certificatePem);
    expect(issued.subject).toBe('CN=vra v1');
    expect(issued.subjectAltName).toBe('URI:tidemark://site-a/vra/v1, IP Address:127.0.1.11, DNS:host-1.lab');
    expect(issued.ca).toBe(false);
    expect([Date.parse(issued.validFrom), Date.parse(issued.validTo)]).toEqual([nowMs - 3_600_000, nowMs + 90 * DAY_MS]);
  });

  it('makes chains that OpenSSL verifies for both purposes, and whose names it reads', async () => {
    const ca = await SiteCa.openOrMake(join(folder, 'openssl'), SITE, Date.now);
    const { certificatePem } = await ca.issue((await makeRequest()).pem, VRA, ['127.0.1.11']);
    const [leafFile, caFile] = [join(folder, 'leaf.pem'), join(folder, 'ca.pem')];
    await writeFile(leafFile, certificatePem);
    await writeFile(caFile, ca.trustedPem.join(''));
    for (const purpose of ['sslserver', 'sslclient']) {
      expect(execFileSync('openssl', ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', caFile, leafFile], { encoding: 'utf8' })).toContain('OK');
    }
  });

  it.each([
    ['no request', 'hello', 'no certificate request'],
    ['an oversized one', 'A'.repeat(17 * 1024), 'at most'],
    ['an RSA key', rsaRequest(), 'EC P-256'],
  ])('refuses %s', async (_what, pem, message) => {
    const ca = await SiteCa.openOrMake(join(folder, 'refusals'), SITE, clock);
    await expect(Promise.resolve(pem).then((text) => ca.issue(text, VRA, []))).rejects.toMatchObject({ code: 'TRUST_REQUEST', message: expect.stringContaining(message) });
  });

  it('refuses a request signed with another key than its own', async () => {
    const ca = await SiteCa.openOrMake(join(folder, 'refusals'), SITE, clock);
    const der = Buffer.from((await makeRequest()).pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    const other = Buffer.from((await makeRequest()).pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    // The subject and the key of one, the signature of another: the last 64 bytes of both hold nothing but the signature's numbers.
    other.copy(der, der.length - 20, other.length - 20);
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----`;
    await expect(ca.issue(pem, VRA, [])).rejects.toMatchObject({ code: 'TRUST_REQUEST' });
  });

  it.each([
    [{ siteId: 'site-b', role: 'vra', instanceId: 'v1' }, [], 'signs no certificate of site site-b'],
    [{ siteId: 'site-a', role: 'vra', instanceId: 'v1/../zvm' }, [], 'no component'],
    [{ siteId: 'site-a', role: 'root', instanceId: 'v1' }, [], 'no component'],
    [VRA, ['a host'], 'neither an IP address nor a host name'],
    [VRA, ['x\u0000.lab'], 'neither'],
    [VRA, Array.from({ length: 17 }, (_, i) => `h${i}`), 'at most 16'],
  ])('signs no name %j for %j', async (name, hosts, message) => {
    const ca = await SiteCa.openOrMake(join(folder, 'refusals'), SITE, clock);
    await expect(ca.issue((await makeRequest()).pem, name as never, hosts)).rejects.toMatchObject({ code: 'TRUST_REQUEST', message: expect.stringContaining(message) });
  });

  it('says both times when its own time is over, or has not come', async () => {
    const ca = await SiteCa.openOrMake(join(folder, 'over'), SITE, clock);
    const { pem } = await makeRequest();
    const before = nowMs;
    nowMs += 4000 * DAY_MS;
    await expect(ca.issue(pem, VRA, [])).rejects.toMatchObject({ code: 'TRUST_EXPIRED', message: expect.stringMatching(/ended at 2036-.*clock says 2037-/) });
    nowMs = before - 10 * DAY_MS;
    await expect(ca.issue(pem, VRA, [])).rejects.toMatchObject({ code: 'TRUST_NOT_YET_VALID', message: expect.stringContaining('clock says 2026-11-12') });
    nowMs = before;
  });

  it('refuses the folder of another site', async () => {
    await SiteCa.openOrMake(join(folder, 'other'), SITE, clock);
    await expect(SiteCa.openOrMake(join(folder, 'other'), { ...SITE, siteId: 'site-b' }, clock)).rejects.toThrow('it names site site-a, not site-b');
  });

  it('refuses a key that is not that of its certificate, and says what to do', async () => {
    const [own, foreign] = [join(folder, 'mixed'), join(folder, 'mixed-2')];
    await SiteCa.openOrMake(own, SITE, clock);
    await SiteCa.openOrMake(foreign, SITE, clock);
    await writeFile(join(own, 'current', 'ca-key.pem'), await readFile(join(foreign, 'current', 'ca-key.pem')));
    await expect(SiteCa.openOrMake(own, SITE, clock)).rejects.toMatchObject({ code: 'TRUST_FILE', message: expect.stringContaining('backup') });
    await rm(join(own, 'current', 'ca-key.pem'));
    await expect(SiteCa.openOrMake(own, SITE, clock)).rejects.toMatchObject({ code: 'TRUST_FILE', message: expect.stringContaining('cannot be read (ENOENT)') });
  });
});

describe('a CA that rotates', () => {
  it('is announced, then signs, then is alone; each step survives a new start', async () => {
    const path = join(folder, 'rotation');
    const reopen = (): Promise<SiteCa> => SiteCa.openOrMake(path, SITE, clock);
    const verified = async (ca: SiteCa, trusted: readonly string[]): Promise<boolean> => {
      const { certificatePem } = await ca.issue((await makeRequest()).pem, VRA, []);
      return new TrustBundle([{ siteId: 'site-a', caPem: trusted }]).identify(certificateOf(certificatePem)) !== undefined;
    };
    const first = (await reopen()).trustedPem;
    await (await reopen()).announceNext();
    const announced = await reopen();
    expect([announced.phase, announced.trustedPem.length, announced.trustedPem[0], announced.trustedPem[1]]).toEqual(['announced', 2, first[0], announced.newestPem]);
    // Who has not heard of the new one yet still understands what is signed now.
    expect(await verified(announced, first)).toBe(true);
    await announced.announceNext();
    expect(announced.trustedPem).toHaveLength(2);
    await announced.switchToNext();
    const switched = await reopen();
    expect([switched.trustedPem[0], switched.trustedPem[1]]).toEqual([switched.newestPem, first[0]]);
    expect([switched.phase, await verified(switched, first), await verified(switched, switched.trustedPem.slice(0, 1))]).toEqual(['switched', false, true]);
    await switched.retireOld();
    const steady = await reopen();
    expect([steady.phase, steady.trustedPem]).toEqual(['steady', switched.trustedPem.slice(0, 1)]);
    // The old key is nowhere any more.
    expect((await readdir(path)).filter((name) => name !== 'current')).toHaveLength(1);
    await steady.switchToNext();
    await steady.retireOld();
    expect(steady.trustedPem).toHaveLength(1);
  });

  it('takes each step once, however many ask for it at the same time', async () => {
    const path = join(folder, 'at-once');
    const ca = await SiteCa.openOrMake(path, SITE, clock);
    await Promise.all([ca.announceNext(), ca.announceNext()]);
    expect(ca.trustedPem).toHaveLength(2);
    expect((await SiteCa.openOrMake(path, SITE, clock)).trustedPem).toEqual(ca.trustedPem);
    await Promise.all([ca.switchToNext(), ca.retireOld(), ca.announceNext()]);
    const reopened = await SiteCa.openOrMake(path, SITE, clock);
    expect([ca.phase, reopened.trustedPem]).toEqual(['announced', ca.trustedPem]);
  });

  it('is as before when a crash left half of a new set behind', async () => {
    const path = join(folder, 'crash');
    const made = await SiteCa.openOrMake(path, SITE, clock);
    execFileSync('mkdir', ['-m', '700', join(path, 'set-half')]);
    await writeFile(join(path, 'set-half', 'ca.pem'), 'torn', { mode: 0o600 });
    await symlink('set-half', join(path, 'set-half.link'));
    const reopened = await SiteCa.openOrMake(path, SITE, clock);
    expect(reopened.trustedPem).toEqual(made.trustedPem);
    await reopened.announceNext();
    expect((await readdir(path)).sort()).toEqual(['current', await readlink(join(path, 'current'))]);
  });
});

describe('a text that should be the CA of a site', () => {
  it('is refused when it is anything else', async () => {
    const ca = await SiteCa.openOrMake(join(folder, 'texts'), SITE, clock);
    const { certificatePem } = await ca.issue((await makeRequest()).pem, VRA, []);
    const own = ca.trustedPem.join('');
    expect(readCaCertificates(own, 'it', 'site-a')).toHaveLength(1);
    for (const [pem, message] of [
      [certificatePem, 'it may not sign others'], ['', 'holds 0 certificates'], [own.slice(0, 400), 'holds 0'], [own.repeat(5), 'at most 4'],
      [`${own.slice(0, 200)}AAAA${own.slice(204)}`, 'it'], ['A'.repeat(70_000), 'characters'], [own.replace(/\n[^\n]+\n-----END/, '\n-----END'), 'no certificate'],
    ] as const) expect(() => readCaCertificates(pem, 'it', 'site-a')).toThrow(message);
    expect(() => readCaCertificates(own, 'it', 'site-b')).toThrow('not site-b');
  });

  it('is refused when it wears the key id of another CA, which would break the other in OpenSSL', async () => {
    const victim = await SiteCa.openOrMake(join(folder, 'victim'), SITE, clock);
    const keyId = new x509.X509Certificate(victim.trustedPem[0]!).getExtension(x509.SubjectKeyIdentifierExtension)!.keyId;
    const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
    const impostor = await x509.X509CertificateGenerator.createSelfSigned({
      name: [{ CN: ['Tidemark site Zürich'] }], keys, signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true), new x509.SubjectAlternativeNameExtension([{ type: 'url', value: 'tidemark://site-b' }]),
        new x509.SubjectKeyIdentifierExtension(keyId),
      ],
    });
    expect(() => readCaCertificates(impostor.toString('pem'), 'it', 'site-b')).toThrow('its key id is not that of its key');
  });
});

async function rsaRequest(): Promise<string> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const path = await mkdtemp(join(tmpdir(), 'trust-'));
  await writeFile(join(path, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const text = execFileSync('openssl', ['req', '-new', '-key', join(path, 'key.pem'), '-subj', '/CN=x'], { encoding: 'utf8' });
  await rm(path, { recursive: true });
  return text;
}
