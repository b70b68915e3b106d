/**
 * `npm run audit`: known vulnerabilities of the packages of the lock file. High and critical ones fail unless tools/supply-chain/policy.json explains them until a
 * day within half a year. Where the registry has no audit endpoint (many mirrors), vulnerabilities cannot be checked: it says so, and `--required` (CI) makes that a failure with exit code 2.
 * What every mirror can answer is printed under a name of its own: packages that their makers have given up, and run-time dependencies behind their newest compatible release.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { judgeAudit, NOT_CHECKED_CODE } from './advisories.mjs';
import { deprecated, judgeFreshness } from './freshness.mjs';
import { lockedPackages } from './lock.mjs';
import { root, runNpm } from './npm.mjs';

const policy = JSON.parse(readFileSync(join(import.meta.dirname, 'policy.json'), 'utf8'));
const isRequired = process.argv.includes('--required');

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// An empty cache: npm would answer from what it heard at some time, also without a network, and keep the severity that an advisory had then.
const cache = mkdtempSync(join(tmpdir(), 'tidemark-npm-'));
const text = await runNpm(['audit', '--json', '--package-lock-only', `--cache=${cache}`, '--loglevel=silent', '--fetch-retries=0', '--fetch-timeout=20000']);
const { unchecked, open, explained, lesser } = judgeAudit(parsed(text), policy.advisories, Date.now());
if (unchecked !== undefined) {
  console.log(`NOT CHECKED: the registry gave no audit report (${unchecked}).\nNothing is known about vulnerabilities of the packages; run this where https://registry.npmjs.org answers.`);
  process.exitCode = isRequired ? NOT_CHECKED_CODE : 0;
} else {
  for (const { id, name, title, url } of explained) console.log(`explained  ${name}: ${title} (${url}): ${policy.advisories[id].why}, until ${policy.advisories[id].until}`);
  for (const { name, severity, title, url } of open) console.log(`${severity.toUpperCase().padEnd(9)}  ${name}: ${title} (${url})`);
  console.log(`${open.length} high or critical without an explanation, ${explained.length} explained, ${lesser} lesser`);
  process.exitCode = open.length > 0 ? 1 : 0;
}

const ASKED_AT_ONCE = 6;
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
const packages = lockedPackages(lock);

/** By its real name: of an alias the lock file keeps it. */
async function ask(name) {
  const { version: current, name: published = name } = lock.packages[`node_modules/${name}`];
  const answer = parsed(await runNpm(['view', published, 'dist-tags.latest', 'versions', '--json', `--cache=${cache}`, '--loglevel=silent', '--fetch-retries=0', '--fetch-timeout=20000']));
  const [latest, versions] = [answer?.['dist-tags.latest'], answer?.versions];
  return { name, current, registry: typeof latest === 'string' && Array.isArray(versions) ? { latest, versions } : null };
}

const names = Object.keys(lock.packages[''].dependencies ?? {});
const found = [];
for (let at = 0; at < names.length; at += ASKED_AT_ONCE) found.push(...(await Promise.all(names.slice(at, at + ASKED_AT_ONCE).map(ask))));
rmSync(cache, { recursive: true, force: true });
console.log('\nAge, which says nothing about vulnerabilities:');
const given = deprecated(packages);
for (const { name, version, notice, isDevelopment } of given) console.log(`given up   ${name} ${version}${isDevelopment ? ' (development)' : ''}: ${notice}`);
const age = judgeFreshness(found, { explanations: policy.behind, now: Date.now() });
for (const { name, current, newest } of age.explained) console.log(`explained  ${name} ${current}, newest ${newest}: ${policy.behind[name].why}, until ${policy.behind[name].until}`);
for (const { name, current, newest } of age.open) console.log(`behind     ${name} ${current}, newest ${newest}: update it, or explain it in tools/supply-chain/policy.json`);
for (const { name, current, latest } of age.newMajor) console.log(`new major  ${name} ${current}, newest ${latest}`);
if (age.unknown.length > 0) console.log(`NOT CHECKED: the registry did not say which releases there are of ${age.unknown.map(({ name }) => name).join(', ')}`);
console.log(`${given.length} of ${packages.length} packages of the lock file are given up; of ${names.length} run-time dependencies ${age.open.length} are behind without an explanation, ${age.explained.length} explained, ${age.unknown.length} unknown`);
if (isRequired && (age.open.length > 0 || age.unknown.length > 0)) process.exitCode ||= 1;
