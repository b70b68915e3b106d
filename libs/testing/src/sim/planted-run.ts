import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from '@swc/core';
import type { Mutation, Plant } from './plants.js';
import type { run } from './run.js';

/** Of the repository: this file runs as libs/testing/dist/sim/planted-run.js. */
const ROOT = join(import.meta.dirname, '../../../..');

/** The source with the bug in it. Throws when the place is not there exactly once: the code has changed, and the plant must follow. */
export function mutated({ file, find, replace }: Mutation): string {
  const source = readFileSync(join(ROOT, file), 'utf8');
  const [before, after, ...more] = source.split(find);
  if (before === undefined || after === undefined || more.length > 0) {
    throw new Error(`planted bug: its place is found ${more.length + (after === undefined ? 0 : 1)} times in ${file}, not once: ${find}`);
  }
  return before + replace + after;
}

/** As tools/build.mjs does it. */
const compiled = (source: string): string => transformSync(source, {
  swcrc: false,
  jsc: {
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
    target: 'es2024',
    keepClassNames: true,
  },
  module: { type: 'es6' },
}).code;

/**
 * Loads a module once more, with all packages that it loads, and the one changed module among them. The product knows nothing of it: every module of this copy
 * carries `?planted=NAME` in its address, and the loader hands out the changed source for one of them.
 */
export async function importMutated(module: URL, name: string, mutation: Mutation | undefined): Promise<unknown> {
  const query = `?planted=${name}`;
  const target = mutation === undefined ? undefined : pathToFileURL(join(ROOT, mutation.file.replace('/src/', '/dist/').replace(/\.ts$/, '.js'))).href;
  let isLoaded = mutation === undefined;
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      const resolved = next(specifier, context);
      const isOurs = context.parentURL?.endsWith(query) === true && resolved.url.startsWith('file:') && !resolved.url.includes('/node_modules/') && !resolved.url.includes('?');
      return isOurs ? { ...resolved, url: resolved.url + query } : resolved;
    },
    load(url, context, next) {
      if (mutation === undefined || target === undefined || url !== target + query) return next(url, context);
      isLoaded = true;
      return { format: 'module', source: compiled(mutated(mutation)), shortCircuit: true };
    },
  });
  try {
    const loaded: unknown = await import(`${pathToFileURL(fileURLToPath(module)).href}${query}`);
    if (!isLoaded) throw new Error(`planted bug ${name}: ${module.pathname} does not load ${mutation?.file ?? ''}`);
    return loaded;
  } finally {
    hooks.deregister();
  }
}

/** The simulation with one bug in it. */
export async function loadPlanted(plant: Plant): Promise<(seed: number) => ReturnType<typeof run>> {
  const module = (await importMutated(new URL('run.js', import.meta.url), plant.name, plant.mutation)) as { readonly run: typeof run };
  return async (seed) => await module.run(seed, plant);
}
