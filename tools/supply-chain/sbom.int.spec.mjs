import { describe, expect, it } from '@jest/globals';
import { findGaps } from './bill.mjs';
import { makeBill } from './sbom.mjs';

describe('npm run sbom', () => {
  it('names every package of the lock file, and twice the same', async () => {
    const [first, second] = await Promise.all([makeBill(), makeBill()]);
    expect(first.gaps).toEqual([]);
    expect(second.text).toBe(first.text);
    const bill = JSON.parse(first.text);
    expect(bill).toMatchObject({ bomFormat: 'CycloneDX', metadata: { component: { name: 'tidemark' } } });
    expect(bill.serialNumber).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe('gaps of a bill', () => {
  const sha = Buffer.from('abcd', 'hex');
  const entry = { version: '1.0.0', license: 'MIT', integrity: `sha512-${sha.toString('base64')}` };
  const lock = { packages: { '': {}, 'node_modules/a': entry, 'node_modules/b/node_modules/a': { ...entry, version: '2.0.0', optional: true } } };
  const component = (version) => ({ 'bom-ref': `a@${version}`, licenses: [{ license: { id: 'MIT' } }], hashes: [{ alg: 'SHA-512', content: 'abcd' }] });

  it('are none when all is there', () => expect(findGaps({ components: [component('1.0.0'), component('2.0.0')] }, lock)).toEqual([]));
  it.each([
    ['a second version', [component('1.0.0')]],
    ['a licence', [component('1.0.0'), { ...component('2.0.0'), licenses: [] }]],
    ['the right hash', [component('1.0.0'), { ...component('2.0.0'), hashes: [{ content: 'ff' }] }]],
  ])('are seen when %s is missing', (_name, components) => expect(findGaps({ components }, lock)).toHaveLength(1));
});
