/**
 * `npm run audit`: known vulnerabilities of the packages of the lock file. High and critical ones fail unless tools/supply-chain/policy.json explains them until a
 * day within half a year. Where the registry has no audit endpoint (many mirrors), nothing can be checked: it says so, and `--required` (CI) makes that a failure.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { judgeAudit } from './advisories.mjs';
import { runNpm } from './npm.mjs';

const policy = JSON.parse(readFileSync(join(import.meta.dirname, 'policy.json'), 'utf8'));
const isRequired = process.argv.includes('--required');

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const text = await runNpm(['audit', '--json', '--package-lock-only', '--loglevel=silent', '--fetch-retries=0', '--fetch-timeout=20000']);
const { unchecked, open, explained, lesser } = judgeAudit(parsed(text), policy.advisories, Date.now());
if (unchecked !== undefined) {
  console.log(`NOT CHECKED: the registry gave no audit report (${unchecked}).\nNothing is known about vulnerabilities of the packages; run this where https://registry.npmjs.org answers.`);
  process.exitCode = isRequired ? 1 : 0;
} else {
  for (const { id, name, title, url } of explained) console.log(`explained  ${name}: ${title} (${url}): ${policy.advisories[id].why}, until ${policy.advisories[id].until}`);
  for (const { name, severity, title, url } of open) console.log(`${severity.toUpperCase().padEnd(9)}  ${name}: ${title} (${url})`);
  console.log(`${open.length} high or critical without an explanation, ${explained.length} explained, ${lesser} lesser`);
  process.exitCode = open.length > 0 ? 1 : 0;
}
