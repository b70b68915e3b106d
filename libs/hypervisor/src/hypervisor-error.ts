import { TidemarkError } from '@tidemark/base';

export type HypervisorErrorCode =
  | 'HYPERVISOR_UNREACHABLE'
  | 'HYPERVISOR_REFUSED' // it does not take our credential
  | 'HYPERVISOR_NOT_FOUND'
  | 'HYPERVISOR_STATE'
  | 'HYPERVISOR_FULL'
  | 'HYPERVISOR_INVALID';

/** What a hypervisor manager refused or could not do. */
export class HypervisorError extends TidemarkError<HypervisorErrorCode> {
  get isRetryable(): boolean {
    return this.code === 'HYPERVISOR_UNREACHABLE';
  }
}
