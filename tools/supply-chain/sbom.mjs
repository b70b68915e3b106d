/**
 * `npm run sbom > tidemark.cdx.json`: a CycloneDX bill of materials of every package of the lock file (those of other platforms and of the build
 * included, the latter marked), to stdout. The same lock file gives the same bytes. Exit code 1 if npm left a package out.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findGaps, toFixedBill } from './bill.mjs';
import { root, runNpm } from './npm.mjs';

/** The bill as text, and what it lacks. */
export async function makeBill() {
  const lockText = readFileSync(join(root, 'package-lock.json'), 'utf8');
  const lock = JSON.parse(lockText);
  const printed = JSON.parse(await runNpm(['sbom', '--sbom-format=cyclonedx', '--package-lock-only', '--loglevel=silent']));
  const bill = toFixedBill(printed, { lockText, packageName: lock.name });
  return { text: `${JSON.stringify(bill, undefined, 2)}\n`, gaps: findGaps(bill, lock) };
}

if (process.argv[1] === import.meta.filename) {
  const { text, gaps } = await makeBill();
  for (const gap of gaps) console.error(`sbom: ${gap}`);
  if (gaps.length > 0) process.exitCode = 1;
  else process.stdout.write(text);
}
