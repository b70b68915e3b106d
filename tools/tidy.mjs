/**
 * Cheap checks of the tree that no linter makes: `node tools/tidy.mjs`. Each check is one test: it prints what it found as
 * `file:line: what`, and the closing line counts them.
 */
import { dirname } from 'node:path';
import { CHECKS } from './tidy/checks.mjs';
import { readTree } from './tidy/tree.mjs';

const tree = readTree(dirname(import.meta.dirname));
let passed = 0;
let failed = 0;
for (const [name, check] of Object.entries(CHECKS)) {
  const findings = check(tree);
  if (findings.length === 0) {
    passed += 1;
    continue;
  }
  failed += 1;
  console.log(`${name}:`);
  for (const finding of findings) console.log(`  ${finding}`);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
