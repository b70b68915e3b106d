import { describe, expect, it } from '@jest/globals';
import { CHECKS } from './checks.mjs';

const CLEAN = {
  'package.json': '{"dependencies":{"koffi":"^3"}}',
  'package-lock.json': '{"packages":{"libs/core/base":{}}}',
  'docs/dependencies.md': '| `koffi` | system calls |',
  'docs/README.md': 'See [dependencies](dependencies.md) and [the web](https://example.org).',
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
