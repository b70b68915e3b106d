import type { GuestWrite } from './types.js';

/** One request of the guest between submission and completion. One object per request, with all its state: nothing else is allocated for it. */
export interface Request {
  readonly id: number;
  readonly volume: number;
  /** undefined: a read. */
  readonly write: GuestWrite | undefined;
  state: 'waiting' | 'local' | 'held';
  /** Earlier requests that must end first. */
  blockerCount: number;
  /** Later requests that wait for this one; a list only once there is one. */
  waiters: Request[] | undefined;
  /** Number of the newest hold when the write was captured. */
  holdSerial: number;
  /** Place among the active requests of its volume. */
  slot: number;
}
