/** Checks of what npm may bring: licences, install scripts, hashes, and that package.json and the lock file say the same. */
import { isAllowedLicence } from '../supply-chain/licences.mjs';
import { idOf, lockedPackages } from '../supply-chain/lock.mjs';

const POLICY = 'tools/supply-chain/policy.json';
const REGISTRY = 'https://registry.npmjs.org/';

const policyOf = (tree) => tree.readJson(POLICY);
const packagesOf = (tree) => lockedPackages(tree.readJson('package-lock.json'));

function licences(tree) {
  const policy = policyOf(tree);
  const allowed = new Set(Object.keys(policy.licences));
  return packagesOf(tree)
    .filter(({ name, license }) => !isAllowedLicence(license, allowed) && !policy.licenceExceptions[name])
    .map((entry) => `package-lock.json: ${idOf(entry)} is under ${entry.license ?? 'no stated licence'}; if it may be used, ${POLICY} says why`);
}

function installScripts(tree) {
  const reasons = policyOf(tree).installScripts;
  const withScript = packagesOf(tree).filter((entry) => entry.hasInstallScript);
  const known = new Set(withScript.map(({ name }) => name));
  const npmrc = tree.files.includes('.npmrc') ? tree.read('.npmrc') : '';
  return [
    ...withScript.filter(({ name }) => !reasons[name]).map((entry) => `package-lock.json: ${idOf(entry)} has an install script; ${POLICY} says why we can do without it, or the package goes`),
    ...Object.keys(reasons).filter((name) => !known.has(name)).map((name) => `${POLICY}: ${name} has no install script any more`),
    ...(/^ignore-scripts=true$/m.test(npmrc) ? [] : ['.npmrc: ignore-scripts=true is missing: install scripts would run']),
  ];
}

/** Without a strong hash `npm ci` takes whatever the registry, or who answers in its place, sends. */
function hashes(tree) {
  return packagesOf(tree)
    .filter(({ isOurs }) => !isOurs)
    .flatMap((entry) => [
      ...(/^sha512-/.test(entry.integrity ?? '') ? [] : [`package-lock.json: ${idOf(entry)} has no SHA-512`]),
      ...(!entry.resolved || entry.resolved.startsWith(REGISTRY) ? [] : [`package-lock.json: ${idOf(entry)} comes from ${entry.resolved}, not from a registry`]),
    ]);
}

const KINDS = ['dependencies', 'devDependencies', 'optionalDependencies'];

function rangesThatDiffer(wanted = {}, locked = {}) {
  return [...new Set([...Object.keys(wanted), ...Object.keys(locked)])].filter((name) => wanted[name] !== locked[name]);
}

function lockAgrees(tree) {
  const lock = tree.readJson('package-lock.json').packages;
  const folders = ['', ...Object.keys(lock).filter((path) => /^(libs|apps)\//.test(path))];
  return folders.flatMap((folder) => {
    const path = folder === '' ? 'package.json' : `${folder}/package.json`;
    if (!tree.files.includes(path)) return [`package-lock.json: ${folder} is locked but gone; run npm install --package-lock-only`];
    const wanted = tree.readJson(path);
    return KINDS.flatMap((kind) => rangesThatDiffer(wanted[kind], lock[folder]?.[kind]))
      .map((name) => `${path}: ${name} is not what package-lock.json says; run npm install --package-lock-only`);
  });
}

export const SUPPLY_CHAIN_CHECKS = {
  'licences of packages': licences,
  'install scripts of packages': installScripts,
  'hashes of packages': hashes,
  'package.json and lock file agree': lockAgrees,
};
