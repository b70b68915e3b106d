/**
 * Compiles every workspace package from src/ to dist/ with swc. Only files that are newer than their output are
 * compiled, so a second run takes a fraction of a second; outputs without a source are removed. Types are the
 * business of `npm run typecheck`.
 */
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { transformFile } from '@swc/core';

const root = dirname(import.meta.dirname);

function packageFolders() {
  const { workspaces } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return workspaces.flatMap((pattern) => {
    if (!pattern.endsWith('/*')) return [join(root, pattern)];
    const parent = join(root, pattern.slice(0, -2));
    return existsSync(parent) ? readdirSync(parent).map((name) => join(parent, name)) : [];
  }).filter((folder) => existsSync(join(folder, 'src')));
}

function filesUnder(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

const isSource = (file) => file.endsWith('.ts') && !file.endsWith('.spec.ts') && !file.endsWith('.d.ts');

async function compile(source, target) {
  const { code, map } = await transformFile(source, {
    swcrc: false,
    jsc: {
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
      target: 'es2024',
      keepClassNames: true,
    },
    module: { type: 'es6' },
    sourceMaps: true,
  });
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, `${code}\n//# sourceMappingURL=${target.split('/').pop()}.map\n`);
  writeFileSync(`${target}.map`, map);
}

async function buildPackage(folder) {
  const from = join(folder, 'src');
  const to = join(folder, 'dist');
  const wanted = new Set();
  let compiled = 0;
  for (const source of filesUnder(from).filter(isSource)) {
    const target = join(to, relative(from, source)).replace(/\.ts$/, '.js');
    wanted.add(target).add(`${target}.map`);
    if (existsSync(target) && statSync(target).mtimeMs >= statSync(source).mtimeMs) continue;
    await compile(source, target);
    compiled += 1;
  }
  if (existsSync(to)) for (const file of filesUnder(to)) if (!wanted.has(file)) rmSync(file);
  return compiled;
}

/** A package that came with a pull is linked as `npm install` would do it, so that nobody has to run that for no other reason. */
function linkPackage(folder) {
  const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const link = join(root, 'node_modules', name);
  if (!name.startsWith('@tidemark/') || existsSync(link)) return;
  rmSync(link, { force: true });
  symlinkSync(relative(dirname(link), folder), link);
}

packageFolders().forEach(linkPackage);
const counts = await Promise.all(packageFolders().map(buildPackage));
const total = counts.reduce((sum, count) => sum + count, 0);
if (total > 0 || process.argv.includes('--verbose')) console.error(`built ${total} files`);
