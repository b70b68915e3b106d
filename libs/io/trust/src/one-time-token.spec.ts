import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { rm } from 'node:fs/promises';
import { assertTokenInTime, type EnrolmentToken, formatToken, newSecret, type PairingToken, parseToken, secretHash } from './one-time-token.js';
import { TestingSite } from './testing/testing-site.js';

let site: TestingSite;
let pairing: PairingToken;
let enrolment: EnrolmentToken;

beforeAll(async () => {
  site = await TestingSite.make('site-a');
  const base = {
    siteId: 'site-a', siteName: 'Zürich', address: '127.0.1.1', port: 9081, caPem: site.ca.trustedPem.join(''), tokenId: 't1', secret: newSecret(), expiresAtMs: 1_800_000_000_000,
  };
  pairing = { ...base, kind: 'pairing', natsJwt: 'jwt', natsSeed: 'seed' };
  enrolment = { ...base, kind: 'enrolment', role: 'vra', instanceId: 'v1', hostId: 'host-a1' };
});
afterAll(async () => {
  await rm(site.folder, { recursive: true });
});

describe('a token', () => {
  it('is read as it was written, blanks around it or not', () => {
    for (const token of [pairing, enrolment]) expect(parseToken(` ${formatToken(token)}\n`)).toEqual(token);
    expect(parseToken(formatToken(enrolment), 'enrolment').hostId).toBe('host-a1');
  });

  it('of another kind is refused, and never shown', () => {
    const text = formatToken(pairing);
    expect(() => parseToken(text, 'enrolment')).toThrow("it is of the kind 'pairing', a token for enrolment is expected");
    expect(() => parseToken(text.replace('.pairing.', '.enrolment.'), 'enrolment')).toThrow('it was changed on its way');
    for (const wrong of [{ ...pairing, secret: `${pairing.secret}x` }, { ...pairing, tokenId: '../x' }, { ...pairing, port: 0 }]) {
      expect(() => parseToken(formatToken(wrong))).toThrow(expect.objectContaining({ code: 'TRUST_TOKEN', message: expect.not.stringContaining(pairing.secret) }));
    }
  });

  it('that is torn, long or something else is refused', () => {
    const text = formatToken(pairing);
    for (let length = 0; length < text.length; length += 97) expect(() => parseToken(text.slice(0, length))).toThrow(expect.objectContaining({ code: 'TRUST_TOKEN' }));
    for (const wrong of [`${text}.x`, `${text}!`, text + 'A'.repeat(40_000), 'password', text.replace('tidemark1', 'tidemark2'), 'tidemark1.pairing.bnVsbA']) {
      expect(() => parseToken(wrong)).toThrow(expect.objectContaining({ code: 'TRUST_TOKEN' }));
    }
  });

  it('whose CA is none, or of another site, is refused', async () => {
    const other = await TestingSite.make('site-b');
    expect(() => parseToken(formatToken({ ...pairing, caPem: other.ca.signerPem }))).toThrow('it names site site-b, not site-a');
    expect(() => parseToken(formatToken({ ...pairing, caPem: 'x' }))).toThrow('holds 0 certificates');
    await rm(other.folder, { recursive: true });
  });

  it('that is over says so with both times', () => {
    expect(() => assertTokenInTime(pairing, 1_800_000_000_000)).toThrow(/ended at 2027-01-15T08:00:00Z.*clock says 2027-01-15T08:00:00Z/);
    expect(() => assertTokenInTime(pairing, 1_799_999_999_999)).not.toThrow();
  });

  it('keeps its secret: 256 bits, stored as a hash', () => {
    expect(new Set(Array.from({ length: 100 }, newSecret)).size).toBe(100);
    expect(Buffer.from(newSecret(), 'base64url')).toHaveLength(32);
    expect(secretHash('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});
