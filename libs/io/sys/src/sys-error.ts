import { TidemarkError } from '@tidemark/base';

export type SysErrorCode = 'SYS_UNSUPPORTED' | 'SYS_FULL' | 'SYS_IO';

/**
 * A failed system call. `SYS_UNSUPPORTED`: this kernel, file system or machine cannot do it (do it another way);
 * `SYS_FULL`: ENOSPC, EDQUOT, EFBIG; `SYS_IO`: anything else. `errno` is its name, such as `ENOSPC`.
 */
export class SysError extends TidemarkError<SysErrorCode> {
  constructor(code: SysErrorCode, message: string, readonly errno: string) {
    super(code, message);
  }

  get isRetryable(): boolean {
    return this.code === 'SYS_FULL';
  }
}

const UNSUPPORTED = new Set(['EOPNOTSUPP', 'ENOTSUP', 'ENOSYS', 'ENODEV', 'ENOTTY']);
const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export function sysErrorOf(call: string, errno: string): SysError {
  const code = UNSUPPORTED.has(errno) ? 'SYS_UNSUPPORTED' : FULL.has(errno) ? 'SYS_FULL' : 'SYS_IO';
  return new SysError(code, `${call}: ${errno}`, errno);
}
