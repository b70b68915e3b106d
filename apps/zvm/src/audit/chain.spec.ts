import { describe, expect, it } from '@jest/globals';
import type { AuditEntry, ChainedEntry } from './audit-entry.js';
import { SYSTEM } from './audit-log.js';
import { canonical, genesisOf, linked, verifyChain } from './chain.js';
import { changesBetween, redacted, redactedInput } from './redaction.js';

const GENESIS = genesisOf('site');
const entry = (n: number): AuditEntry => ({ ...SYSTEM, id: String(n), atMs: n, action: `act ${n}`, entities: [], result: 'Done', message: null });
const chain = (count: number): ChainedEntry[] => linked(GENESIS, Array.from({ length: count }, (_, n) => entry(n + 1)));
async function* walk(entries: readonly ChainedEntry[]): AsyncGenerator<ChainedEntry> {
  yield* await Promise.resolve(entries);
}
const verify = async (entries: readonly ChainedEntry[], anchor: ChainedEntry | null = null) => (await verifyChain(GENESIS, walk(entries), anchor)).firstBreak;

describe('the chain of audit entries', () => {
  it('is whole as it was written, also with entries after the anchor', async () => {
    expect(await verify(chain(5), chain(5)[2] ?? null)).toBeNull();
    expect(await verify([])).toBeNull();
  });

  it('each way to tamper is named at the first place', async () => {
    const whole = chain(6);
    const changed = whole.map((one) => (one.seq === 3 ? { ...one, entry: { ...one.entry, user: 'somebody else' } } : one));
    expect(await verify(changed)).toMatchObject({ seq: 3, kind: 'changed' });
    expect(await verify(whole.filter(({ seq }) => seq !== 4))).toMatchObject({ seq: 4, kind: 'missing' });
    expect(await verify(whole.slice(1))).toMatchObject({ seq: 1, kind: 'missing' });
    const swapped = whole.map((one) => (one.seq === 2 ? { ...one, entry: entry(3) } : one.seq === 3 ? { ...one, entry: entry(2) } : one));
    expect(await verify(swapped)).toMatchObject({ seq: 2, kind: 'changed' });
    expect(await verify(whole.slice(0, 4), whole[5] ?? null)).toMatchObject({ seq: 5, kind: 'cutAtEnd' });
    const anew = linked(GENESIS, whole.map((one) => (one.seq === 2 ? { ...one.entry, user: 'x' } : one.entry)));
    expect(await verify(anew)).toBeNull();
    expect(await verify(anew, whole[5] ?? null)).toMatchObject({ seq: 6, kind: 'rewritten' });
    expect((await verifyChain(genesisOf('other site'), walk(whole), null)).firstBreak).toMatchObject({ seq: 1, kind: 'changed' });
  });

  it('canonical JSON does not depend on the order of keys', () => {
    expect(canonical({ b: [1, { d: null, c: 'x' }], a: true })).toBe('{"a":true,"b":[1,{"c":"x","d":null}]}');
  });
});

describe('what the audit keeps of bodies and settings', () => {
  it('no secrets, by name and by look', () => {
    const body = { Password: 'p', nested: { ClientSecret: 's', list: ['tdm_abc', 'plain'] }, Token: 'x', TokenIdentifier: 'id', Key: '-----BEGIN PRIVATE KEY-----\nAAA', OldPassword: '' };
    expect(redacted(body)).toEqual({ Password: '***', nested: { ClientSecret: '***', list: ['***', 'plain'] }, Token: '***', TokenIdentifier: 'id', Key: '***', OldPassword: '' });
  });

  it('nothing that PostgreSQL or the hash could see in two ways', () => {
    expect(redacted({ text: 'a\0b\ud800', number: Number.NaN, missing: undefined })).toEqual({ text: 'a\ufffdb\ufffd', number: null, missing: null });
    expect(redactedInput({ list: Array(3000).fill('long') })).toMatch(/characters, left out/);
    expect(redactedInput({})).toBeNull();
  });

  it('differences by path, secrets only as changed', () => {
    expect(changesBetween({ a: 1, b: { c: 'x', password: 'old' }, d: [1] }, { a: 1, b: { c: 'y', password: 'new' }, d: [1, 2] })).toEqual([
      { path: 'b.c', before: 'x', after: 'y' }, { path: 'b.password', before: '***', after: '***' }, { path: 'd', before: [1], after: [1, 2] }]);
  });
});
