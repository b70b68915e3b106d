import { collect, lateText } from './child.mjs';

const COUNTS = /^(\d+) passed, (\d+) failed$/m;

/** A lane that is one program: its exit code is one test, unless it prints counts of its own. */
export async function runCommandLane({ command, minutesMax, countsItself = false }) {
  const { code, isLate, output: text } = await collect(command, { minutesMax });
  const output = isLate ? text + lateText(minutesMax) : text;
  const isOk = code === 0 && !isLate;
  const counts = countsItself ? COUNTS.exec(output) : null;
  if (!counts) return { passed: isOk ? 1 : 0, failed: isOk ? 0 : 1, skipped: 0, output };
  const failed = Number(counts[2]);
  return { passed: Number(counts[1]), failed: isOk ? failed : Math.max(1, failed), skipped: 0, output };
}
