import { fdatasyncOf } from './fdatasync.js';
import type { Sys } from './sys.js';
import { SysError } from './sys-error.js';

/** Where libc cannot be called: everything says so, and callers write zeroes and count all as data. */
export class NoSys implements Sys {
  readonly isAvailable = false;
  readonly description: string;

  constructor(reason: string) {
    this.description = `no system calls through koffi (${reason}): zeroes are written instead of holes, freed space stays allocated, files are not locked`;
  }

  punchHole(): void {
    throw unsupported('punchHole');
  }

  punchHoleAsync(): Promise<void> {
    return Promise.reject(unsupported('punchHole'));
  }

  zeroRangeAsync(): Promise<void> {
    return Promise.reject(unsupported('zeroRange'));
  }

  allocateAsync(): Promise<void> {
    return Promise.reject(unsupported('allocate'));
  }

  seekData(): number | undefined {
    throw unsupported('seekData');
  }

  seekHole(): number {
    throw unsupported('seekHole');
  }

  tryLock(): boolean {
    throw unsupported('tryLock');
  }

  readCached(): number {
    throw unsupported('readCached');
  }

  openDirect(): number {
    throw unsupported('openDirect');
  }

  readDirect(): Promise<number> {
    return Promise.reject(unsupported('readDirect'));
  }

  addressOf(): bigint {
    throw unsupported('addressOf');
  }

  dropCache(): void {
    throw unsupported('dropCache');
  }

  dup(): number {
    throw unsupported('dup');
  }

  fdatasync(fd: number): Promise<void> {
    return fdatasyncOf(fd);
  }
}

const unsupported = (call: string): SysError => new SysError('SYS_UNSUPPORTED', `${call}: no system calls on this machine`, 'ENOSYS');
