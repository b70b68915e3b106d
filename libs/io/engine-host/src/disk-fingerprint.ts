import { isNbdUri } from '@tidemark/base';
import { stat } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError } from './engine-error.js';

/** A file's times go by the kernel's tick, 10 ms at most: a write within the tick of an earlier one leaves no trace. */
const TICK_MS = 25;

/** Names a file's state: any write to it gives another one. Empty for what is no file: nothing can be said of it. */
export async function fingerprintOf(path: string): Promise<string> {
  if (isNbdUri(path)) return '';
  const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [ino, size, mtimeNs, ctimeNs].join(':');
}

/** As {@link fingerprintOf}, of a file that rests: whatever is written later, the fingerprint tells. @throws EngineError VRA_NOT_SETTLED */
export async function restingFingerprint(path: string): Promise<string> {
  const before = await fingerprintOf(path);
  if (before === '') return '';
  await sleep(TICK_MS);
  if ((await fingerprintOf(path)) !== before) throw new EngineError('VRA_NOT_SETTLED', `${path} is being written`);
  return before;
}

/** Writes that were captured when each of the newest checkpoints was marked. */
export class WritesAtMarkers {
  static readonly KEPT = 512;
  readonly #counts = new Map<number, number>();

  placed(checkpointId: number, writeCount: number): void {
    this.#counts.set(checkpointId, writeCount);
    if (this.#counts.size <= WritesAtMarkers.KEPT) return;
    const [oldest] = this.#counts.keys();
    if (oldest !== undefined) this.#counts.delete(oldest);
  }

  /** undefined: this process has not marked it, or too many since. */
  at(checkpointId: number): number | undefined {
    return this.#counts.get(checkpointId);
  }
}
