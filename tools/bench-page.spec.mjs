import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { writePage } from '../bench/lib/page.mjs';
import { ResultError } from '../bench/lib/result.mjs';

let root;
let results;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tidemark-bench-page-'));
  results = join(root, 'results');
  for (const folder of [results, join(root, 'bench', 'accounts')]) mkdirSync(folder, { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true }));

const row = (fields) => ({ case: '4k', unit: 'IOPS', ours: 3000, peer: 2000, peerName: 'peer', ratio: 1.5, goal: 1, spread: [1.4, 1.6], ...fields });
const put = (name, rows) => writeFileSync(join(results, `${name}.json`), JSON.stringify({ name, machine: { cpu: 'cpu', cpuCount: 2, kernel: '6' }, versions: { node: 'v24' }, rows }));
const page = () => readFileSync(join(root, 'docs', 'performance.md'), 'utf8');

it('has a table, a chart and the account of each result, in the order of the goals', () => {
  put('restart', [row({ case: 'kill', peer: null, peerName: null, spread: undefined, unit: 's' })]);
  put('nbd', [row(), row({ case: '64k <&>', ratio: 0.7 })]);
  writeFileSync(join(root, 'bench', 'accounts', 'nbd.md'), 'our server\n\nBefore.\n\n<!-- results -->\n\nAfter.\n');
  writePage({ root, results });
  expect(page()).toMatch(/\[nbd\]\(#nbd\) \| 1 of 2 \| 64k <&> ÷ peer \(0\.70 of 1\.00\)[^]*\[restart\][^]*## nbd\n\n\*our server\*\n\nBefore\.\n[^]*\| 64k <&> [^]*images\/performance\/nbd\.svg[^]*After\.[^]*## restart[^]*No account/);
  const chart = readFileSync(join(root, 'docs', 'images', 'performance', 'nbd.svg'), 'utf8');
  expect([chart.match(/class="met"/g).length, chart.match(/class="missed"/g).length, chart.includes('64k &lt;&amp;&gt;')]).toEqual([1, 1, true]);
});

it('keeps what was shown before for a row that was not measured again', () => {
  put('nbd', [row()]);
  put('wire', [row()]);
  writePage({ root, results });
  rmSync(join(results, 'wire.json'));
  put('nbd', [row({ ratio: 0.1 })]);
  const { lines } = writePage({ root, results });
  expect(lines).toEqual(['nbd: 0 of 1 goals met', 'wire: 1 of 1 goals met (shown before, not measured again)']);
});

it.each([['ratio', NaN], ['goal', 0], ['ours', undefined], ['spread', [1]]])('refuses a row whose %s is %p, and writes nothing', (field, value) => {
  put('nbd', [row({ [field]: value })]);
  expect(() => writePage({ root, results })).toThrow(ResultError);
  expect(page).toThrow('ENOENT');
});
