/** The checks of tools/tidy.mjs: each takes the tree and returns findings, one line of text each. */
import { SUPPLY_CHAIN_CHECKS } from './supply-chain-checks.mjs';

const FILE_LINES_MAX = 500;
const isCode = (path) => /^(apps|libs|bench|tools)\/.*\.(ts|mjs)$/.test(path);
// The specs of tidy itself are full of what tidy looks for.
const isSpec = (path) => /\.spec\.(ts|mjs)$/.test(path) && !path.startsWith('tools/tidy/');

/** Lines of `files` that match `pattern`, as findings. */
function findLines(tree, files, pattern, what) {
  return files.flatMap((path) =>
    tree.read(path).split('\n').flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${what}: ${line.trim().slice(0, 100)}`] : [])),
  );
}

function focusedTests(tree) {
  const specs = tree.files.filter((path) => isCode(path) && isSpec(path));
  return findLines(tree, specs, /\b(describe|it|test)\.only\b|\b(fdescribe|fit)\(/, 'a focused test hides all others');
}

function skippedTests(tree) {
  const specs = tree.files.filter((path) => isCode(path) && isSpec(path));
  // A skip decided at run time (a tool is missing) is a value: `(hasFio ? it : it.skip)(…)`.
  return findLines(tree, specs, /^\s*(describe|it|test)\.skip\b|^\s*(xdescribe|xit|xtest)\(/, 'skipped without a condition');
}

function todos(tree) {
  const files = tree.files.filter((path) => isCode(path) && !path.startsWith('tools/tidy'));
  return findLines(tree, files, /\b(TODO|FIXME|XXX)\b(?!\(#\d+\))/, 'name the issue, as in TODO(#12)');
}

function longFiles(tree) {
  return tree.files.filter((path) => isCode(path)).flatMap((path) => {
    const lines = tree.read(path).split('\n').length - 1;
    return lines > FILE_LINES_MAX ? [`${path}: ${lines} lines, ${FILE_LINES_MAX} at most; split it where a name suggests itself`] : [];
  });
}

function generatedFiles(tree) {
  return tree.files.filter((path) => /(^|\/)(dist|node_modules|coverage)\//.test(path)).map((path) => `${path}: generated, keep it out of git`);
}

const RINGS = ['core', 'io', 'contracts', 'hypervisor', 'nest', 'testing', 'app', 'bench', 'tool'];
const SCOPES = ['shared', 'data-plane', 'control-plane', 'lab', 'testing', 'tool'];
const FOLDER_RING = { 'libs/core/': 'core', 'libs/io/': 'io', 'libs/contracts': 'contracts', 'libs/hypervisor': 'hypervisor', 'libs/nest': 'nest', 'libs/testing': 'testing', 'apps/': 'app', 'bench/': 'bench' };

function tagFindings(path, tags = []) {
  const rings = tags.filter((tag) => tag.startsWith('ring:')).map((tag) => tag.slice(5));
  const scopes = tags.filter((tag) => tag.startsWith('scope:')).map((tag) => tag.slice(6));
  const findings = [];
  if (rings.length !== 1 || !RINGS.includes(rings[0])) findings.push(`${path}: needs exactly one ring: tag of ${RINGS.join(', ')}`);
  if (scopes.length !== 1 || !SCOPES.includes(scopes[0])) findings.push(`${path}: needs exactly one scope: tag of ${SCOPES.join(', ')}`);
  const folder = Object.keys(FOLDER_RING).find((prefix) => path.startsWith(prefix));
  if (folder && rings[0] !== FOLDER_RING[folder]) findings.push(`${path}: the folder says ring:${FOLDER_RING[folder]}`);
  return findings;
}

function projectTags(tree) {
  const projects = tree.files.filter((path) => /(^|\/)project\.json$/.test(path));
  const folders = new Set(projects.map((path) => path.replace(/project\.json$/, '')));
  const untagged = tree.files
    .filter((path) => /^(libs|apps)\/.*package\.json$/.test(path) && !folders.has(path.replace(/package\.json$/, '')))
    .map((path) => `${path}: a package without project.json has no tags`);
  return [...untagged, ...projects.flatMap((path) => tagFindings(path, tree.readJson(path).tags))];
}

function lockedPackages(tree) {
  const { packages } = tree.readJson('package-lock.json');
  return tree.files
    .filter((path) => /^(libs|apps)\/.*package\.json$/.test(path))
    .map((path) => path.replace(/\/package\.json$/, ''))
    .filter((folder) => !packages[folder])
    .map((folder) => `package-lock.json: ${folder} is missing, so npm ci fails; run npm install --package-lock-only`);
}

/** Words that say nothing, where something is declared. The hypervisor manager (vCenter, SCVMM) is a word of the field; NBD and the REST API have their own words. */
const FOREIGN_WORDS = /^libs\/(core\/nbd|contracts\/src\/rest)\//;
const BANNED_DECLARATION =
  /^\s*(?:export\s+)?(?:abstract\s+)?(?:class|interface|type|function|const|let|enum)\s+(?:\w*(?<!Hypervisor)Manager|\w*(?:Helper|Util|Utils|Common|Info)|Base(?:Service|Controller))\b/;
const BANNED_FILE = /(^|[/.-])(utils?|helpers?|common|misc|(?<!hypervisor-)manager)([.-]|\/|$)/;

function bannedWords(tree) {
  const files = tree.files.filter((path) => isCode(path) && !path.startsWith('tools/tidy') && !FOREIGN_WORDS.test(path));
  const names = files.filter((path) => BANNED_FILE.test(path)).map((path) => `${path}: the file's name says nothing`);
  return [...names, ...findLines(tree, files, BANNED_DECLARATION, 'a name that says nothing')];
}

const FILE_NAME = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/;
function fileNames(tree) {
  return tree.files.filter((path) => isCode(path) && !FILE_NAME.test(path.split('/').pop())).map((path) => `${path}: file names are kebab-case`);
}

/** Relative imports are resolved by Node as they stand. */
function importSuffixes(tree) {
  const files = tree.files.filter((path) => isCode(path) && path.endsWith('.ts'));
  return findLines(tree, files, /\bfrom '\.{1,2}\/[^']*(?<!\.js|\.json|\.mjs)'/, 'a relative import needs its .js');
}

function documentedDependencies(tree) {
  const { dependencies, devDependencies, optionalDependencies } = tree.readJson('package.json');
  const text = tree.files.includes('docs/dependencies.md') ? tree.read('docs/dependencies.md') : '';
  return Object.keys({ ...dependencies, ...devDependencies, ...optionalDependencies })
    .filter((name) => !text.includes(`\`${name}\``))
    .map((name) => `docs/dependencies.md: no line for ${name}`);
}

function brokenLinks(tree) {
  const known = new Set(tree.files.flatMap((path) => path.split('/').map((_, index, parts) => parts.slice(0, index + 1).join('/'))));
  const resolve = (from, link) => new URL(link.replace(/#.*/, ''), `file:///${from}`).pathname.slice(1).replace(/\/$/, '');
  return tree.files.filter((path) => path.endsWith('.md') && !path.startsWith('docs/design/')).flatMap((path) =>
    [...tree.read(path).matchAll(/\]\((?!https?:|mailto:|#)([^)\s]+)\)/g)]
      .map(([, link]) => link)
      .filter((link) => !known.has(resolve(path, link)))
      .map((link) => `${path}: broken link to ${link}`),
  );
}

/** Who reads documents begins at their index. */
function indexedDocuments(tree) {
  const index = tree.files.includes('docs/README.md') ? tree.read('docs/README.md') : '';
  return tree.files.filter((path) => /^docs\/.*\.md$/.test(path) && path !== 'docs/README.md' && !index.includes(`](${path.slice('docs/'.length)})`)).map((path) => `docs/README.md: no link to ${path}`);
}

const COMMANDS = 'docs/guide/commands.md';
function documentedScripts(tree) {
  const text = tree.files.includes(COMMANDS) ? tree.read(COMMANDS) : '';
  // As `npm run x …`, or as `x` after another script of its row; npm test needs no run.
  const isNamed = (name) => new RegExp(`\`npm (?:run )?${name}(?: [^\`]*)?\`|\` / \`${name}\``).test(text);
  return Object.keys(tree.readJson('package.json').scripts ?? {}).filter((name) => !isNamed(name)).map((name) => `${COMMANDS}: no line for npm run ${name}`);
}

export const CHECKS = {
  'focused tests': focusedTests,
  'skipped tests': skippedTests,
  'open ends without an issue': todos,
  'long files': longFiles,
  'generated files': generatedFiles,
  'project tags': projectTags,
  'packages in the lock file': lockedPackages,
  'banned words': bannedWords,
  'file names': fileNames,
  'import suffixes': importSuffixes,
  'documented dependencies': documentedDependencies,
  'links in documents': brokenLinks,
  'documents in the index': indexedDocuments,
  'documented scripts': documentedScripts,
  ...SUPPLY_CHAIN_CHECKS,
};
