import { constants as fileConstants, openSync } from 'node:fs';
import { constants } from 'node:os';
import type { KoffiFunc } from 'koffi';
import { fdatasyncOf } from './fdatasync.js';
import type { FileRange, Sys } from './sys.js';
import { sysErrorOf } from './sys-error.js';

/** The part of koffi that is used here; given, so that a machine on which it cannot be loaded can be tested. */
export type Koffi = typeof import('koffi');

// linux/falloc.h, unistd.h, sys/file.h and linux/fs.h; the same on every architecture.
const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;
const FALLOC_FL_ZERO_RANGE = 0x10;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const RWF_NOWAIT = 0x08;
const F_DUPFD_CLOEXEC = 1030;
const POSIX_FADV_DONTNEED = 4; // linux/fadvise.h; 6 on s390 alone

interface Iovec {
  readonly iov_base: Uint8Array;
  readonly iov_len: number;
}

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, value]) => [value as number, name]));

/** libc through koffi. A call costs 1 to 2 µs more than the system call itself. */
export class LinuxSys implements Sys {
  readonly isAvailable = true;
  readonly description: string;
  readonly #koffi: Koffi;
  readonly #fallocate: KoffiFunc<(fd: number, mode: number, offset: number, length: number) => number>;
  readonly #lseek: KoffiFunc<(fd: number, offset: number, whence: number) => number>;
  readonly #fcntl: KoffiFunc<(fd: number, command: number, from: number) => number>;
  readonly #flock: KoffiFunc<(fd: number, operation: number) => number>;
  readonly #fadvise: KoffiFunc<(fd: number, offset: number, length: number, advice: number) => number>;
  readonly #preadv2: KoffiFunc<(fd: number, iov: readonly Iovec[], count: number, offset: number, flags: number) => number>;

  constructor(koffi: Koffi) {
    const libc = koffi.load('libc.so.6');
    this.#koffi = koffi;
    this.#fallocate = libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)');
    this.#lseek = libc.func('int64_t lseek(int fd, int64_t offset, int whence)');
    this.#fcntl = libc.func('int fcntl(int fd, int command, int argument)');
    this.#fadvise = libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)');
    this.#flock = libc.func('int flock(int fd, int operation)');
    // Without a name: koffi's names are global to the process, which may load this module more than once (Jest does).
    const iovec = koffi.pointer(koffi.struct({ iov_base: 'void *', iov_len: 'size_t' }));
    this.#preadv2 = libc.func('preadv2', 'int64_t', ['int', iovec, 'int', 'int64_t', 'int']);
    this.description = `system calls through koffi ${koffi.version}`;
  }

  punchHole(fd: number, range: FileRange): void {
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    this.#check('fallocate(PUNCH_HOLE)', () => this.#fallocate(fd, mode, range.offset, range.length));
  }

  async punchHoleAsync(fd: number, range: FileRange): Promise<void> {
    await this.#fallocateAsync(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range);
  }

  async zeroRangeAsync(fd: number, range: FileRange): Promise<void> {
    await this.#fallocateAsync(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, range);
  }

  async allocateAsync(fd: number, range: FileRange): Promise<void> {
    await this.#fallocateAsync(fd, FALLOC_FL_KEEP_SIZE, range);
  }

  seekData(fd: number, offset: number): number | undefined {
    const at = this.#lseek(fd, offset, SEEK_DATA);
    if (at >= 0) return at;
    const errno = this.#errno();
    if (errno === 'ENXIO') return undefined;
    throw sysErrorOf('lseek(SEEK_DATA)', errno);
  }

  seekHole(fd: number, offset: number): number {
    const at = this.#lseek(fd, offset, SEEK_HOLE);
    if (at < 0) throw sysErrorOf('lseek(SEEK_HOLE)', this.#errno());
    return at;
  }

  tryLock(fd: number, mode: 'shared' | 'exclusive'): boolean {
    for (;;) {
      if (this.#flock(fd, (mode === 'shared' ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) return true;
      const errno = this.#errno();
      if (errno === 'EAGAIN' || errno === 'EWOULDBLOCK') return false;
      if (errno !== 'EINTR') throw sysErrorOf('flock', errno);
    }
  }

  readCached(fd: number, target: Uint8Array, offset: number): number {
    const read = this.#preadv2(fd, [{ iov_base: target, iov_len: target.length }], 1, offset, RWF_NOWAIT);
    if (read >= 0) return read;
    const errno = this.#errno();
    if (errno === 'EAGAIN' || errno === 'EWOULDBLOCK' || errno === 'EINTR') return 0; // the first two are one number, and Node has both names
    throw sysErrorOf('preadv2(RWF_NOWAIT)', errno);
  }

  openDirect(fd: number): number {
    try {
      return openSync(`/proc/self/fd/${String(fd)}`, fileConstants.O_RDONLY | fileConstants.O_DIRECT);
    } catch (error) {
      throw sysErrorOf('open(O_DIRECT)', String((error as { code?: unknown }).code));
    }
  }

  /** With RWF_NOWAIT: a direct read would otherwise write dirty pages of its range back first, and hold the file's lock against writers meanwhile. */
  readDirect(fd: number, target: Uint8Array, offset: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#preadv2.async(fd, [{ iov_base: target, iov_len: target.length }], 1, offset, RWF_NOWAIT, (error: Error | null, read: number) => {
        if (error === null) resolve(Math.max(0, read));
        else reject(error);
      });
    });
  }

  addressOf(memory: Uint8Array): bigint {
    return this.#koffi.address(memory);
  }

  dropCache(fd: number, { offset, length }: FileRange = { offset: 0, length: 0 }): void {
    const errno = this.#fadvise(fd, offset, length, POSIX_FADV_DONTNEED); // gives the number, sets no errno
    if (errno !== 0) throw sysErrorOf('posix_fadvise(DONTNEED)', ERRNO_NAMES.get(errno) ?? `errno ${String(errno)}`);
  }

  dup(fd: number): number {
    const copy = this.#fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) throw sysErrorOf('fcntl(F_DUPFD_CLOEXEC)', this.#errno());
    return copy;
  }

  fdatasync(fd: number): Promise<void> {
    return fdatasyncOf(fd);
  }

  #errno(): string {
    const errno = this.#koffi.errno();
    return ERRNO_NAMES.get(errno) ?? `errno ${String(errno)}`;
  }

  #check(call: string, run: () => number): void {
    while (run() !== 0) {
      const errno = this.#errno();
      if (errno !== 'EINTR') throw sysErrorOf(call, errno);
    }
  }

  /** errno belongs to a thread: koffi's own call in another thread gives -1 only, so the call is made again here to learn why. */
  async #fallocateAsync(fd: number, mode: number, range: FileRange): Promise<void> {
    const result = await new Promise<number>((resolve, reject) => {
      this.#fallocate.async(fd, mode, range.offset, range.length, (error: Error | null, value: number) => {
        if (error === null) resolve(value);
        else reject(error);
      });
    });
    if (result !== 0) this.#check('fallocate', () => this.#fallocate(fd, mode, range.offset, range.length));
  }
}
