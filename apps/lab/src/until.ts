import { setTimeout as sleep } from 'node:timers/promises';
import { LabError } from './lab-error.js';

/** Polls `read` until it gives something; LAB_TIMEOUT naming `what`, and with `seen` what there was instead, when it does not in time. */
export async function until<T>(what: string, read: () => Promise<T | undefined>, { timeoutMs = 60_000, everyMs = 200, seen = (): string => '' } = {}): Promise<T> {
  const startedAtMs = performance.now();
  for (;;) {
    const found = await read();
    if (found !== undefined) return found;
    if (performance.now() - startedAtMs > timeoutMs) throw new LabError('LAB_TIMEOUT', `${what}: not within ${timeoutMs / 1000} s${seen() === '' ? '' : `, but ${seen()}`}`);
    await sleep(everyMs);
  }
}
