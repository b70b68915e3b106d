import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { chmod, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeRequest } from './certificate-request.js';
import { ComponentIdentity } from './component-identity.js';
import { parseNameUri } from './component-name.js';
import { TestingSite } from './testing/testing-site.js';

let site: TestingSite;
beforeAll(async () => {
  site = await TestingSite.make('site-a');
});
afterAll(async () => {
  await rm(site.folder, { recursive: true });
});

describe('what a component keeps of itself', () => {
  it('is nothing before it was enrolled', async () => {
    expect(await ComponentIdentity.open(join(site.folder, 'nobody'))).toBeUndefined();
  });

  it('is replaced as a whole, and its users are told', async () => {
    const identity = await site.component('vra', 'v1', { lifetimeMs: 60_000 });
    const [request, seen] = [await makeRequest(), [] as string[]];
    const { certificatePem } = await site.ca.issue(request.pem, identity.name, []);
    const end = identity.onChange((current) => seen.push(current.keyPem));
    await identity.replace({ keyPem: request.keyPem, certificatePem, caPem: site.ca.trustedPem, natsCredentials: 'creds' });
    end();
    const reopened = await ComponentIdentity.open(identity.folder);
    expect(reopened?.current()).toMatchObject({ keyPem: request.keyPem, certificatePem, natsCredentials: 'creds' });
    expect(seen).toEqual([request.keyPem]);
    expect(await readdir(identity.folder)).toHaveLength(2);
  });

  it('never becomes a key without its certificate, or the certificate of another', async () => {
    const identity = await site.component('vra', 'v2');
    const before = identity.current();
    const request = await makeRequest();
    const other = await site.ca.issue(request.pem, { siteId: 'site-a', role: 'zvm', instanceId: 'main' }, []);
    await expect(identity.replace({ ...before, keyPem: request.keyPem })).rejects.toThrow('the key is not that of the certificate');
    await expect(identity.replace({ ...before, keyPem: request.keyPem, certificatePem: other.certificatePem })).rejects.toThrow('is of zvm main of site site-a; this is vra v2');
    await expect(identity.replace({ ...before, certificatePem: site.ca.signerPem })).rejects.toThrow('names no Tidemark component');
    await expect(identity.replace({ ...before, keyPem: 'secret' })).rejects.toThrow(expect.objectContaining({ message: expect.not.stringContaining('secret') }));
    expect((await ComponentIdentity.open(identity.folder))?.current()).toEqual(identity.current());
  });

  it('is whole whatever changes it at once: a renewed certificate is not undone by CA certificates that come beside it', async () => {
    const identity = await site.component('vra', 'v5');
    const first = site.ca.trustedPem;
    const requests = await Promise.all([1, 2, 3].map(() => makeRequest()));
    const renewed = await Promise.all(requests.map(async ({ pem, keyPem }) => ({ keyPem, caPem: first, certificatePem: (await site.ca.issue(pem, identity.name, [])).certificatePem })));
    await site.ca.announceNext();
    const both = site.ca.trustedPem;
    // As a VRA in the middle of a rotation: its next certificate and the CA of tomorrow come by different messages. A second object on the folder: a command beside a running program.
    const beside = await ComponentIdentity.open(identity.folder);
    await Promise.all([...renewed.map((parts) => identity.replace(parts)), identity.believe(() => both), beside?.replace(renewed[1]!), identity.believe((believed) => [...believed])]);
    expect(identity.current()).toMatchObject({ keyPem: requests[2]!.keyPem, caPem: both });
    await identity.believe(() => []);
    expect(await readdir(identity.folder)).toHaveLength(2);
    await identity.replace(identity.current());
    expect((await ComponentIdentity.open(identity.folder))?.current()).toMatchObject({ keyPem: requests[2]!.keyPem, caPem: [both.join('')] });
  });

  it('is due at two thirds of its life', async () => {
    const identity = await site.component('vra', 'v3', { lifetimeMs: 900_000 });
    const { notBeforeMs, notAfterMs } = identity.current();
    const dueMs = notBeforeMs + ((notAfterMs - notBeforeMs) * 2) / 3;
    expect([identity.isRenewalDue(dueMs - 1), identity.isRenewalDue(dueMs), identity.expiresAtMs]).toEqual([false, true, notAfterMs]);
  });

  it('is refused when others can read the key, or when it is no key', async () => {
    const identity = await site.component('vra', 'v4');
    const key = join(identity.folder, await readlink(join(identity.folder, 'current')), 'key.pem');
    await chmod(key, 0o644);
    await expect(ComponentIdentity.open(identity.folder)).rejects.toThrow(`chmod 600 ${key}`);
    await chmod(key, 0o600);
    await writeFile(key, '');
    await expect(ComponentIdentity.open(identity.folder)).rejects.toMatchObject({ code: 'TRUST_FILE' });
    await writeFile(key, 'x'.repeat(2_000_000));
    await expect(ComponentIdentity.open(identity.folder)).rejects.toThrow('2000000 bytes');
  });
});

describe('the name of a component', () => {
  it.each([
    'tidemark://site-a/vra', 'tidemark://site-a/vra/', 'tidemark://site-a/vra/v1/x', 'tidemark:///vra/v1', 'TIDEMARK://site-a/vra/v1', 'tidemark://site-a/VRA/v1',
    'tidemark://site a/vra/v1', 'tidemark://site-a/vra/v1\n', 'tidemark://site-a/vra/..', `tidemark://site-a/vra/${'v'.repeat(65)}`, 'https://site-a/vra/v1', '',
  ])('is not %j', (uri) => {
    expect(parseNameUri(uri)).toBeUndefined();
  });
});
