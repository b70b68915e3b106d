import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { loadOrMakeCertificate } from './certificate.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'zvm-cert-'));
});
afterEach(() => rm(folder, { recursive: true }));

describe('REST certificate', () => {
  it('is made once, names the address and localhost, and its key is private', async () => {
    const first = await loadOrMakeCertificate(folder, { address: '127.0.1.1', siteName: 'A' });
    const again = await loadOrMakeCertificate(folder, { address: '127.0.1.1', siteName: 'A' });
    expect(again).toEqual(first);
    const certificate = new X509Certificate(first.cert);
    expect(certificate.checkIP('127.0.1.1')).toBe('127.0.1.1');
    expect(certificate.checkHost('localhost')).toBe('localhost');
    expect(certificate.checkHost('example.org')).toBeUndefined();
    expect((await stat(join(folder, 'rest-key.pem'))).mode & 0o777).toBe(0o600);
    expect(() => createSecureContext(first)).not.toThrow();
  });
});
