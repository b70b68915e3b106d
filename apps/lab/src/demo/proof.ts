import { join } from 'node:path';
import { examineWorkload, type LaneMarks, problemsOf, uriOf } from '../guest/workload.js';
import type { VmStatus } from '../status.js';
import { checkExt4, compareManifests, type Manifest, readOutExt4 } from './file-system.js';
import { digestOldData, FILE_SYSTEM, LANES } from './scene.js';
import type { Stage } from './stage.js';
import { mustRun } from './tools.js';

/** What the recovered disks must hold. */
export interface Expectation {
  readonly files: Manifest;
  readonly oldDataDigest: string;
  /** Completed before the checkpoint was asked for. */
  readonly atLeast: LaneMarks;
  /** Issued when it stood. */
  readonly atMost: LaneMarks;
}

export interface Proof {
  readonly problems: readonly string[];
  /** Last write of each lane inside the recovered image. */
  readonly lastSeqs: LaneMarks;
}

/** Looks at the recovered disks only, through the socket that their VMs use. */
export async function proveRecovered(stage: Stage, vms: readonly VmStatus[], expected: Expectation, folder: string): Promise<Proof> {
  const problems = [...(await proveFileSystem(stage, vms, expected, folder)), ...(await proveOldData(stage, vms, expected))];
  const findings = await examineWorkload(LANES, vms);
  const wrong = problemsOf(findings, expected);
  const writes = findings.reduce((sum, { finding }) => sum + finding.lastSeq, 0);
  if (wrong.length === 0) {
    stage.good(`workload: the disks of db01 and web01 hold exactly the first ${writes} writes of ${findings.length} lanes, checksums right`);
    stage.good('dependencies: no write is there without the one it depends on, across disks, VMs and hosts');
    stage.good('every write that had completed before the checkpoint was asked for is inside');
  }
  for (const problem of wrong) stage.bad(problem);
  return { problems: [...problems, ...wrong], lastSeqs: new Map(findings.map(({ lane, finding }) => [lane, finding.lastSeq])) };
}

async function proveFileSystem(stage: Stage, vms: readonly VmStatus[], expected: Expectation, folder: string): Promise<string[]> {
  const image = join(folder, 'recovered.raw');
  await mustRun('nbdcopy', [uriOf(vms, FILE_SYSTEM), image]);
  const check = await checkExt4(image);
  if (check.isClean) stage.good('e2fsck -fn: clean');
  else stage.bad(`e2fsck -fn: ${complaint(check.output)}`);
  const differences = compareManifests(expected.files, await readOutExt4(image, join(folder, 'recovered')));
  if (differences.length === 0) stage.good(`files: all ${expected.files.size} are there, SHA-256 equal`);
  for (const difference of differences.slice(0, 5)) stage.bad(difference);
  return [...(check.isClean ? [] : ['e2fsck finds errors']), ...differences];
}

async function proveOldData(stage: Stage, vms: readonly VmStatus[], expected: Expectation): Promise<string[]> {
  if ((await digestOldData(vms)) === expected.oldDataDigest) {
    stage.good('data from before the protection: SHA-256 equal');
    return [];
  }
  stage.bad('data from before the protection has other bytes');
  return ['data from before the protection has other bytes'];
}

/** The reason in what e2fsck prints: `/usr/sbin/e2fsck: Bad magic number in super-block while trying to open …`. */
export function complaint(output: string): string {
  const lines = output.trim().split('\n');
  const named = lines.map((line) => /e2fsck: (.+?)(?: while trying to open .*)?$/.exec(line)?.[1]).filter((text) => text !== undefined);
  return named.at(-1) ?? lines.at(-1) ?? '';
}
