import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { webcrypto, X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { TestingSite } from './testing/testing-site.js';
import { TrustBundle } from './trust-bundle.js';
import { ALGORITHM, DAY_MS } from './x509.js';

let a: TestingSite;
let b: TestingSite;
let bundle: TrustBundle;

beforeAll(async () => {
  [a, b] = [await TestingSite.make('site-a'), await TestingSite.make('site-b')];
  bundle = new TrustBundle([{ siteId: 'site-a', caPem: a.ca.trustedPem }, { siteId: 'site-b', caPem: b.ca.trustedPem }]);
});
afterAll(async () => {
  for (const site of [a, b]) await rm(site.folder, { recursive: true });
});

const certificate = async (site: TestingSite, lifetimeMs?: number): Promise<X509Certificate> =>
  new X509Certificate((await site.component('vra', 'v1', lifetimeMs === undefined ? {} : { lifetimeMs })).current().certificatePem);

/** Signed with the key of site b's CA, which a paired site has, and saying whatever it likes. */
async function forged(uris: readonly string[], { isCa = false } = {}): Promise<X509Certificate> {
  const { readFile } = await import('node:fs/promises');
  const { createPrivateKey } = await import('node:crypto');
  const der = createPrivateKey(await readFile(`${b.folder}/ca/current/ca-key.pem`, 'utf8')).export({ type: 'pkcs8', format: 'der' });
  const signingKey = await webcrypto.subtle.importKey('pkcs8', new Uint8Array(der), ALGORITHM, false, ['sign']);
  const keys = (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const made = await x509.X509CertificateGenerator.create({
    subject: 'CN=vra v1', issuer: new x509.X509Certificate(b.ca.signerPem).subjectName, publicKey: keys.publicKey, signingKey, signingAlgorithm: ALGORITHM,
    extensions: [new x509.SubjectAlternativeNameExtension(uris.map((value) => ({ type: 'url', value }))), ...(isCa ? [new x509.BasicConstraintsExtension(true)] : [])],
  });
  return new X509Certificate(made.toString('pem'));
}

describe('who is believed', () => {
  it('the component that its own site has signed', async () => {
    expect(bundle.identify(await certificate(a))).toEqual({ siteId: 'site-a', role: 'vra', instanceId: 'v1' });
    expect(bundle.identify(await certificate(b))).toEqual({ siteId: 'site-b', role: 'vra', instanceId: 'v1' });
    expect(bundle.identify(await forged(['tidemark://site-b/vra/v9']))).toEqual({ siteId: 'site-b', role: 'vra', instanceId: 'v9' });
  });

  it('not a VRA whose certificate begins before its site voids those before; another one of that name, and the same id at another site, are', async () => {
    const [first, same] = [await a.component('vra', 'v1'), await certificate(b)];
    const { notBeforeMs } = first.current();
    const bundleWith = (beforeMs: number): TrustBundle => new TrustBundle([
      { siteId: 'site-a', caPem: a.ca.trustedPem, voided: [{ role: 'vra', instanceId: 'v1', beforeMs }] }, { siteId: 'site-b', caPem: b.ca.trustedPem, voided: [{ role: 'vra', instanceId: 'v2', beforeMs }] },
    ]);
    const shown = new X509Certificate(first.current().certificatePem);
    expect(bundleWith(notBeforeMs).verify(shown, Date.now())).toMatchObject({ instanceId: 'v1' });
    expect(() => bundleWith(notBeforeMs + 1).verify(shown, Date.now())).toThrow(/tidemark:\/\/site-a\/vra\/v1 was taken back by its site.*enrolled anew/);
    expect(bundleWith(notBeforeMs + 1).identify(shown)).toBeUndefined();
    expect(bundleWith(Date.now() + DAY_MS).verify(same, Date.now())).toMatchObject({ siteId: 'site-b', instanceId: 'v1' });
    const zvm = new X509Certificate((await a.component('zvm', 'v1')).current().certificatePem);
    expect(bundleWith(Date.now() + DAY_MS).verify(zvm, Date.now())).toMatchObject({ role: 'zvm' });
  });

  it.each([
    ["another site's name under its own CA", ['tidemark://site-a/zvm/main'], {}, 'no CA that this component knows'],
    ['two names', ['tidemark://site-b/vra/v1', 'tidemark://site-b/vra/v2'], {}, 'no certificate of a Tidemark component'],
    ['the name of a site', ['tidemark://site-b'], {}, 'no certificate of a Tidemark component'],
    ['a role that does not exist', ['tidemark://site-b/root/v1'], {}, 'no certificate of a Tidemark component'],
    ['a name with more behind it', ['tidemark://site-b/vra/v1, URI:tidemark://site-a/zvm/main'], {}, 'no certificate of a Tidemark component'],
    ['a CA below the CA', ['tidemark://site-b/vra/v1'], { isCa: true }, 'no certificate of a Tidemark component'],
  ])('not %s', async (_what, uris, options, message) => {
    const peer = await forged(uris, options);
    expect(bundle.identify(peer)).toBeUndefined();
    expect(() => bundle.verify(peer, Date.now())).toThrow(message);
  });

  it('nobody without a certificate, with bytes that are none, or of a site that is not trusted', async () => {
    expect(bundle.identify(undefined)).toBeUndefined();
    expect(bundle.identify({} as never)).toBeUndefined();
    expect(bundle.identify({ raw: Buffer.from('3082', 'hex') } as never)).toBeUndefined();
    const unpaired = new TrustBundle([{ siteId: 'site-a', caPem: a.ca.trustedPem }]);
    expect(unpaired.identify(await certificate(b))).toBeUndefined();
    const refused = await certificate(b);
    expect(() => unpaired.verify(refused, Date.now())).toThrow('a site that this one does not trust');
  });

  it('nobody before his time or after it, and both times are said', async () => {
    const peer = await certificate(a, 2 * DAY_MS);
    const [endMs, now] = [Date.parse(peer.validTo), Date.now()];
    expect(bundle.verify(peer, now).instanceId).toBe('v1');
    const end = new Date(endMs).toISOString().replace('.000Z', 'Z');
    const over = `vra/v1 ended at ${end}; this machine's clock says ${new Date(endMs + 1000).toISOString().replace('.000Z', 'Z')}`;
    expect(() => bundle.verify(peer, endMs + 1000)).toThrow(expect.objectContaining({ code: 'TRUST_EXPIRED', message: expect.stringContaining(over) }));
    expect(() => bundle.verify(peer, now - 30 * DAY_MS)).toThrow(expect.objectContaining({ code: 'TRUST_NOT_YET_VALID', message: expect.stringContaining('begins at') }));
  });

  it('nobody but the one that was expected', async () => {
    const peer = await certificate(a);
    expect(bundle.verify(peer, Date.now(), { siteId: 'site-a', role: 'vra', instanceId: 'v1' }).role).toBe('vra');
    for (const expected of [{ siteId: 'site-b' }, { role: 'zvm' as const }, { instanceId: 'v2' }]) {
      expect(() => bundle.verify(peer, Date.now(), expected)).toThrow(expect.objectContaining({ code: 'TRUST_UNKNOWN' }));
    }
  });

  it('a bundle takes no CA for a site that it does not name', () => {
    expect(() => new TrustBundle([{ siteId: 'site-a', caPem: b.ca.trustedPem }])).toThrow('it names site site-b, not site-a');
  });
});
