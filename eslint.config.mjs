/**
 * One flat configuration for the whole workspace; run it with `npm run lint` (through nx: the module boundary rule needs
 * the project graph). A rule is an error or it is off. Exceptions are inline, with their reason.
 */
import nx from '@nx/eslint-plugin';
import tseslint from 'typescript-eslint';
import { boundaries, PURE_GLOBALS, PURE_IMPORTS, PURE_PROPERTIES } from './tools/eslint/rings.mjs';

const TYPESCRIPT = ['apps/**/*.ts', 'libs/**/*.ts', 'bench/**/*.ts'];
const SPECS = ['**/*.spec.ts', '**/src/testing/**/*.ts', 'libs/testing/**/*.ts'];

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', '.nx/**', 'tmp/**', 'coverage/**', '**/*.d.ts'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },

  {
    files: TYPESCRIPT,
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { '@nx': nx },
    rules: {
      // Lost promises and lost updates: three real bugs of the products we read were of these kinds.
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: true }],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      // An engine that broke keeps what broke it, of type unknown, and throws it again.
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingUnknown: true, allowThrowingAny: false }],
      '@typescript-eslint/promise-function-async': 'off',
      'require-atomic-updates': ['error', { allowProperties: true }],

      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
      ],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      // Narrows fields and flags as if no method, callback or other task could change them: every finding so far was false.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // Contradicts prefer-promise-reject-errors: `Promise.reject(error as VolumeError)`.
      '@typescript-eslint/no-unnecessary-type-assertion': 'off',
      'no-restricted-syntax': [
        'error',
        { selector: 'ExportDefaultDeclaration', message: 'No default exports: a name is the same everywhere.' },
        { selector: 'TSEnumDeclaration', message: 'Use a union of string literals.' },
      ],
      // base/globals.d.ts declares the two web globals of the pure ring; a package's sources carry it along that way.
      '@typescript-eslint/triple-slash-reference': ['error', { path: 'always', types: 'never', lib: 'never' }],
      eqeqeq: ['error', 'always'],
      'no-console': 'off',
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true, IIFEs: true }],
      '@nx/enforce-module-boundaries': ['error', boundaries({ isSpec: false })],

      // Nest modules and options objects are classes that hold nothing but metadata.
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true, allowEmpty: true }],
      // `${number}` is how every message here is written.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // `void start()` and `() => emitter.emit(x)` are wanted: no-floating-promises holds what matters.
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-meaningless-void-operator': 'off',
      // `Done = void | Promise<void>` is the port's way to say "now or later".
      '@typescript-eslint/no-invalid-void-type': 'off',
      // Implementations of an async port need not await anything.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'none' }],
      '@typescript-eslint/unified-signatures': 'off',
      // DTOs, messages and entities are classes for their decorators only; literals of their shape are how they are made.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-misused-spread': 'off',
      // `get<Answer>(path)` names what the other side promises.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
    },
  },

  // TCP without TLS exists for benches (what does TLS cost?) and tests. No app can build it.
  {
    files: ['apps/**/*.ts', 'libs/**/*.ts'],
    ignores: SPECS,
    rules: {
      'no-restricted-imports': ['error', { patterns: [{ regex: '@tidemark/link/plain|plain-transport', message: 'Data connections of an app are TLS: TlsTransport of @tidemark/link.' }] }],
    },
  },

  {
    files: ['libs/core/**/*.ts'],
    ignores: SPECS,
    rules: {
      'no-restricted-imports': 'off',
      '@typescript-eslint/no-restricted-imports': ['error', PURE_IMPORTS],
      'no-restricted-globals': ['error', ...PURE_GLOBALS],
      'no-restricted-properties': ['error', ...PURE_PROPERTIES],
    },
  },

  {
    files: ['tools/**/*.mjs', 'bench/**/*.mjs', '*.mjs', '*.js'],
    rules: {
      'no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-unreachable': 'error',
      'no-fallthrough': 'error',
      'no-redeclare': 'error',
      'prefer-const': 'error',
      'require-atomic-updates': ['error', { allowProperties: true }],
      eqeqeq: ['error', 'always'],
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true, IIFEs: true }],
    },
  },

  {
    files: ['bench/**/*.mjs'],
    plugins: { '@nx': nx },
    rules: { '@nx/enforce-module-boundaries': ['error', boundaries({ isSpec: false })] },
  },

  {
    files: SPECS,
    rules: {
      '@nx/enforce-module-boundaries': ['error', boundaries({ isSpec: true })],
      'max-lines-per-function': 'off',
      // A spec states what it knows: `rows[0]!` fails the test by itself when it is wrong, and fakes need not be typed to the end.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/unbound-method': 'off',
      // `let site; beforeAll(async () => { site = await up(); })`: hooks run one after the other.
      'require-atomic-updates': 'off',
    },
  },
);
