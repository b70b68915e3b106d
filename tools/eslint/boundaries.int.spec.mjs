import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

const root = dirname(dirname(import.meta.dirname));
const BOUNDARIES = '@nx/enforce-module-boundaries';
const FLOATING = '@typescript-eslint/no-floating-promises';

/** Project folder → its tags; the names are those of the real workspace. */
const PROJECTS = {
  'libs/core/base': ['ring:core', 'scope:shared'],
  'libs/core/volume': ['ring:core', 'scope:data-plane'],
  'libs/io/link': ['ring:io', 'scope:data-plane'],
  'libs/nest': ['ring:nest', 'scope:shared'],
  'libs/testing': ['ring:testing', 'scope:testing'],
  'apps/vra': ['ring:app', 'scope:data-plane'],
  'apps/zvm': ['ring:app', 'scope:control-plane'],
  'apps/cli': [],
};

/** File → its text and the rule that must refuse it (`null`: allowed). */
const CASES = {
  'libs/core/volume/src/node-builtin.ts': ["import { readFileSync } from 'node:fs';\nexport const x = readFileSync;\n", '@typescript-eslint/no-restricted-imports'],
  'libs/core/volume/src/npm-package.ts': ["import fc from 'fast-check';\nexport const x = fc;\n", '@typescript-eslint/no-restricted-imports'],
  'libs/core/volume/src/clock.ts': ['export const now = (): number => Date.now();\n', 'no-restricted-globals'],
  'libs/core/volume/src/random.ts': ['export const dice = (): number => Math.random();\n', 'no-restricted-properties'],
  'libs/core/volume/src/timer.ts': ['export const later = (f: () => void): void => void setTimeout(f, 1);\n', 'no-restricted-globals'],
  'libs/core/volume/src/buffer.ts': ["export const bytes = (): Uint8Array => Buffer.from('x');\n", 'no-restricted-globals'],
  'libs/core/volume/src/imports-io.ts': ["import '@tidemark/link';\n", BOUNDARIES],
  'libs/core/volume/src/imports-core.ts': ["import '@tidemark/base';\n", null],
  'libs/core/volume/src/spec-may-read.spec.ts': ["import { readFileSync } from 'node:fs';\nexport const x = readFileSync;\n", null],
  'libs/io/link/src/imports-nest.ts': ["import '@tidemark/nest';\n", BOUNDARIES],
  'libs/io/link/src/imports-testing.ts': ["import '@tidemark/testing';\n", BOUNDARIES],
  'apps/zvm/src/imports-app.ts': ["import '@tidemark/vra';\n", BOUNDARIES],
  'apps/zvm/src/imports-data-plane.ts': ["import '@tidemark/link';\n", BOUNDARIES],
  'apps/zvm/src/imports-by-path.ts': ["import '../../../libs/nest/src/index.js';\n", BOUNDARIES],
  'apps/zvm/src/imports-nest.ts': ["import '@tidemark/nest';\n", null],
  'apps/vra/src/imports-testing.ts': ["import '@tidemark/testing';\n", BOUNDARIES],
  'apps/vra/src/imports-testing.spec.ts': ["import '@tidemark/testing';\n", null],
  'apps/cli/src/untagged.ts': ["import '@tidemark/base';\n", BOUNDARIES],
  'apps/vra/src/floating.ts': ['const work = async (): Promise<void> => {};\nwork();\n', FLOATING],
  'apps/vra/src/throws-text.ts': ["export function f(): never {\n  throw 'text';\n}\n", '@typescript-eslint/only-throw-error'],
  'apps/vra/src/lost-update.ts': [
    'let total = 0;\nexport async function add(next: Promise<number>): Promise<number> {\n  total += await next;\n  return total;\n}\n',
    'require-atomic-updates',
  ],
  'apps/vra/src/return-in-try.ts': [
    'declare const work: () => Promise<number>;\nexport async function f(): Promise<number> {\n  try {\n    return work();\n  } catch {\n    return 0;\n  }\n}\n',
    '@typescript-eslint/return-await',
  ],
};

let workspace;
const inWorkspace = (path) => join(workspace, path);

function write(path, text) {
  mkdirSync(dirname(inWorkspace(path)), { recursive: true });
  writeFileSync(inWorkspace(path), text);
}

/** A small workspace of its own, with this checkout's rules: fixtures must not be seen by whoever works in the real one. */
function makeWorkspace() {
  workspace = mkdtempSync(join(tmpdir(), 'tidemark-lint-'));
  for (const path of ['package.json', 'nx.json', 'project.json', 'tsconfig.json', 'tsconfig.base.json', 'eslint.config.mjs', 'tools/lint.mjs', 'tools/eslint/rings.mjs']) {
    cpSync(join(root, path), inWorkspace(path));
  }
  mkdirSync(inWorkspace('node_modules/@tidemark'), { recursive: true });
  for (const entry of readdirSync(join(root, 'node_modules')).filter((name) => name !== '@tidemark')) {
    symlinkSync(join(root, 'node_modules', entry), inWorkspace(`node_modules/${entry}`));
  }
  for (const [folder, tags] of Object.entries(PROJECTS)) {
    const name = folder.split('/').pop();
    write(`${folder}/package.json`, JSON.stringify({ name: `@tidemark/${name}`, version: '0.0.0', type: 'module', exports: { '.': './src/index.ts' } }));
    write(`${folder}/project.json`, JSON.stringify({ name, sourceRoot: `${folder}/src`, projectType: 'library', tags, targets: {} }));
    write(`${folder}/src/index.ts`, 'export {};\n');
    symlinkSync(inWorkspace(folder), inWorkspace(`node_modules/@tidemark/${name}`));
  }
  for (const [path, [text]] of Object.entries(CASES)) write(path, text);
}

function run(command, args) {
  const env = { ...process.env, NX_DAEMON: 'false', TIDEMARK_LINT: '--json', NX_CACHE_DIRECTORY: inWorkspace('.nx/cache') };
  return spawnSync(command, args, { cwd: workspace, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function rulesByFile(stdout) {
  const line = stdout.split('\n').find((text) => text.startsWith('[{"filePath"'));
  if (!line) throw new Error(`no results in:\n${stdout}`);
  const results = JSON.parse(line);
  return new Map(results.map(({ filePath, messages }) => [filePath.slice(workspace.length + 1), messages.map((message) => message.ruleId)]));
}

describe('what lint refuses', () => {
  let status;
  let found;
  beforeAll(() => {
    makeWorkspace();
    const lint = run(join(root, 'node_modules/.bin/nx'), ['run', 'workspace:lint', '--output-style=static']);
    status = lint.status;
    found = rulesByFile(lint.stdout);
  });
  afterAll(() => rmSync(workspace, { recursive: true, force: true }));

  it('ends with a failure', () => expect(status).not.toBe(0));

  it.each(Object.entries(CASES).map(([path, [, rule]]) => [path, rule]))('%s: %s', (path, rule) => {
    const rules = found.get(path);
    if (rule === null) expect(rules).toEqual([]);
    else expect(rules).toContain(rule);
  });

  it('takes a missing project graph for a failure, not for a pass', () => {
    rmSync(inWorkspace('.nx'), { recursive: true, force: true });
    const lint = run(process.execPath, ['tools/lint.mjs', 'libs/core/base']);
    expect(lint.status).not.toBe(0);
    expect(lint.stderr).toContain(`${BOUNDARIES} let libs/core import libs/io`);
  });
});
