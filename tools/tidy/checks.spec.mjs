import { describe, expect, it } from '@jest/globals';
import { CHECKS } from './checks.mjs';

/** A lock file of ours and one package, with `more` over that package's entry. */
function lockOf(more, root = { dependencies: { koffi: '^3' } }) {
  const koffi = { version: '3.0.0', license: 'MIT OR GPL-3.0', integrity: 'sha512-x', hasInstallScript: true, ...more };
  return JSON.stringify({ packages: { '': root, 'libs/core/base': { version: '0.1.0', license: 'Apache-2.0' }, 'node_modules/koffi': koffi, 'node_modules/base': { link: true } } });
}

const CLEAN = {
  '.npmrc': 'ignore-scripts=true\n',
  'package.json': '{"dependencies":{"koffi":"^3"},"scripts":{"test":"","lint":"","tidy":"","sim":""}}',
  'package-lock.json': lockOf({}),
  'tools/supply-chain/policy.json': JSON.stringify({ licences: { 'Apache-2.0': 'ours', MIT: 'permissive' }, licenceExceptions: {}, installScripts: { koffi: 'not needed' } }),
  'docs/dependencies.md': '| `koffi` | system calls |',
  'docs/README.md': 'See [dependencies](dependencies.md), [commands](guide/commands.md) and [the web](https://example.org).',
  'docs/guide/commands.md': '`npm test`, `npm run lint` / `tidy`, `npm run sim -- …`',
  'libs/core/base/package.json': '{}',
  'libs/core/base/project.json': '{"tags":["ring:core","scope:shared"]}',
  'libs/core/base/src/index.ts': "export * from './text.js';\n// TODO(#12): say more\n",
  'libs/core/base/src/text.spec.ts': "const itWithFio = hasFio ? it : it.skip;\n",
};

function treeOf(texts) {
  const read = (path) => texts[path];
  return { files: Object.keys(texts).sort(), read, readJson: (path) => JSON.parse(read(path)) };
}

/** Check → what breaks it: path and text, over the clean tree. */
const VIOLATIONS = [
  ['focused tests', 'libs/core/base/src/x.spec.ts', "  it.only('one', () => {});"],
  ['skipped tests', 'libs/core/base/src/x.spec.ts', "  it.skip('one', () => {});"],
  ['open ends without an issue', 'libs/core/base/src/x.ts', '// TODO: later'],
  ['long files', 'libs/core/base/src/x.ts', 'x;\n'.repeat(501)],
  ['generated files', 'libs/core/base/dist/index.js', ''],
  ['project tags', 'libs/core/base/project.json', '{"tags":["ring:core"]}'],
  ['project tags', 'libs/core/base/project.json', '{"tags":["ring:io","scope:shared"]}'],
  ['project tags', 'libs/core/extent/package.json', '{}'],
  ['packages in the lock file', 'libs/core/extent/package.json', '{}'],
  ['banned words', 'libs/core/base/src/text-utils.ts', ''],
  ['banned words', 'libs/core/base/src/x.ts', 'export class VolumeManager {}'],
  ['file names', 'libs/core/base/src/textTools.ts', ''],
  ['import suffixes', 'libs/core/base/src/x.ts', "import { a } from './a';"],
  ['documented dependencies', 'package.json', '{"dependencies":{"leftpad":"^1"}}'],
  ['links in documents', 'docs/README.md', '[gone](gone.md)'],
  ['documents in the index', 'docs/adr/0001-x.md', '# 0001: x'],
  ['documented scripts', 'package.json', '{"scripts":{"test":"","si":""}}'],
  ['licences of packages', 'package-lock.json', lockOf({ license: 'AGPL-3.0' })],
  ['licences of packages', 'package-lock.json', lockOf({ license: undefined })],
  ['licences of packages', 'package-lock.json', lockOf({ license: 'MIT AND AGPL-3.0', optional: true, os: ['darwin'] })],
  ['install scripts of packages', 'package-lock.json', lockOf({ name: 'other' }).replace('"node_modules/base"', '"node_modules/koffi/node_modules/koffi":{"version":"2.0.0","hasInstallScript":true},"node_modules/base"')],
  ['install scripts of packages', 'package-lock.json', lockOf({ hasInstallScript: undefined })],
  ['install scripts of packages', '.npmrc', 'ignore-scripts=false\n'],
  ['hashes of packages', 'package-lock.json', lockOf({ integrity: 'sha1-x' })],
  ['hashes of packages', 'package-lock.json', lockOf({ resolved: 'git+ssh://git@github.com/x/koffi.git' })],
  ['package.json and lock file agree', 'package-lock.json', lockOf({}, { dependencies: { koffi: '^2' } })],
  ['package.json and lock file agree', 'package-lock.json', lockOf({}).replace('"node_modules/base"', '"libs/core/gone":{"version":"0.1.0"},"node_modules/base"')],
];

describe('tidy', () => {
  it.each(Object.keys(CHECKS))('%s: content with a clean tree', (name) => {
    expect(CHECKS[name](treeOf(CLEAN))).toEqual([]);
  });

  it.each(VIOLATIONS)('%s: finds %s', (name, path, text) => {
    expect(CHECKS[name](treeOf({ ...CLEAN, [path]: text }))).toHaveLength(1);
  });

  it('plants at least one violation for every check', () => {
    expect(new Set(VIOLATIONS.map(([name]) => name))).toEqual(new Set(Object.keys(CHECKS)));
  });
});
