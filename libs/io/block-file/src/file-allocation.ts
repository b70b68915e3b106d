import type { Sys } from '@tidemark/sys';
import type { AllocationRun } from '@tidemark/volume';

/** 1000 runs are some 3 ms of lseek; between such batches the event loop serves others. */
const RUNS_PER_TURN = 1000;

const HOLE = { isHole: true, isZero: true };
const DATA = { isHole: false, isZero: false };

/** Runs of `[offset, offset + length)` as SEEK_DATA and SEEK_HOLE tell them; beyond the end of the file is a hole. */
export async function allocationOf(sys: Sys, fd: number, range: { offset: number; length: number }): Promise<AllocationRun[]> {
  const end = range.offset + range.length;
  const runs: AllocationRun[] = [];
  for (let at = range.offset; at < end; ) {
    const data = Math.min(end, sys.seekData(fd, at) ?? end);
    if (data > at) runs.push({ length: data - at, ...HOLE });
    if (data === end) break;
    // A punch between the two calls may give a hole at `data` itself: then it is reported as one block of data.
    const hole = Math.min(end, Math.max(sys.seekHole(fd, data), data + 1));
    runs.push({ length: hole - data, ...DATA });
    at = hole;
    if (runs.length % RUNS_PER_TURN < 2) await new Promise((resolve) => setImmediate(resolve));
  }
  return runs;
}

/** Where holes cannot be seen, everything may be data. */
export const allData = (length: number): AllocationRun[] => (length === 0 ? [] : [{ length, ...DATA }]);
