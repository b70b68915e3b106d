/**
 * One Jest configuration for every lane: ESM (node --experimental-vm-modules), TypeScript through swc with decorator
 * metadata, workspace packages resolved to their sources so that a test never runs a stale build.
 */
import { readdirSync, readFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';

const root = import.meta.dirname;

function packageFolders() {
  const { workspaces } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return workspaces.flatMap((pattern) => {
    if (!pattern.endsWith('/*')) return [pattern];
    const parent = pattern.slice(0, -2);
    if (!existsSync(join(root, parent))) return [];
    return readdirSync(join(root, parent)).map((name) => `${parent}/${name}`);
  });
}

/** `@tidemark/x` → its src/index.ts, and each further entry of its "exports" → the file under "types". */
function sourceMapper() {
  const mapper = {};
  for (const folder of packageFolders()) {
    const file = join(root, folder, 'package.json');
    if (!existsSync(file)) continue;
    const { name, exports } = JSON.parse(readFileSync(file, 'utf8'));
    for (const [entry, target] of Object.entries(exports ?? {})) {
      mapper[`^${name}${entry.slice(1)}$`] = join(root, folder, target.types);
    }
  }
  return mapper;
}

export default {
  rootDir: root,
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { ...sourceMapper(), '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': ['@swc/jest', {
      jsc: {
        parser: { syntax: 'typescript', decorators: true },
        transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
        target: 'es2024',
      },
      module: { type: 'es6' },
      sourceMaps: 'inline',
    }],
  },
  modulePathIgnorePatterns: ['<rootDir>/.*/dist/'],
  testPathIgnorePatterns: ['/node_modules/', '/dist/'],
  haste: { forceNodeFilesystemAPI: true },
};
