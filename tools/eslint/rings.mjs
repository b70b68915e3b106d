/**
 * What may import what. Every project has one `ring:` tag (how far it is from the pure core) and one `scope:` tag (which
 * part of the product it serves); both must allow an import. There is no rule for `*`: a project without tags fails on
 * its first import.
 */

const RINGS = {
  core: ['core'],
  io: ['core', 'io'],
  contracts: ['core', 'contracts'],
  hypervisor: ['core', 'io', 'hypervisor'],
  nest: ['core', 'io', 'contracts', 'hypervisor', 'nest'],
  testing: ['core', 'io', 'contracts', 'hypervisor', 'nest', 'testing'],
  app: ['core', 'io', 'contracts', 'hypervisor', 'nest'],
  bench: ['core', 'io', 'contracts', 'hypervisor', 'nest', 'testing'],
  // tools/ runs before anything is built, so it can import nothing.
  tool: [],
};

const SCOPES = {
  shared: ['shared'],
  'data-plane': ['data-plane', 'shared'],
  'control-plane': ['control-plane', 'shared'],
  // It plays the guests of a data plane, their agents, and those who attack it.
  lab: ['lab', 'data-plane', 'shared'],
  testing: ['data-plane', 'control-plane', 'lab', 'shared', 'testing'],
  tool: [],
};

const constraint = (kind, from, to) => ({
  sourceTag: `${kind}:${from}`,
  onlyDependOnLibsWithTags: to.map((name) => `${kind}:${name}`),
});

/** Options of `@nx/enforce-module-boundaries`. Specs of apps may also use libs/testing, and whatever it stands on. */
export function boundaries({ isSpec }) {
  const rings = { ...RINGS };
  const scopes = { ...SCOPES };
  if (isSpec) {
    rings.app = [...RINGS.app, 'testing'];
    for (const scope of ['data-plane', 'control-plane', 'lab']) scopes[scope] = [...SCOPES[scope], 'testing'];
  }
  return {
    allow: [],
    enforceBuildableLibDependency: false,
    banTransitiveDependencies: false,
    depConstraints: [
      ...Object.entries(rings).map(([from, to]) => constraint('ring', from, to)),
      ...Object.entries(scopes).map(([from, to]) => constraint('scope', from, to)),
    ],
  };
}

const WHY = 'libs/core is pure: time, randomness, checksums and I/O come in as arguments';

/** Nx does not see Node built-ins, and an npm package in core would be a dependency of everything. */
export const PURE_IMPORTS = {
  patterns: [{ regex: '^(?!\\.{1,2}/|@tidemark/)', message: `${WHY}; no Node built-in, no npm package.` }],
};

export const PURE_GLOBALS = [
  'Date', 'Buffer', 'process', 'global', 'globalThis', 'setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval',
  'clearImmediate', 'queueMicrotask', 'performance', 'crypto', 'fetch', 'console', 'require', 'WebSocket', 'AbortSignal', 'structuredClone',
].map((name) => ({ name, message: `${WHY}.` }));

export const PURE_PROPERTIES = [
  { object: 'Math', property: 'random', message: `${WHY}.` },
];
