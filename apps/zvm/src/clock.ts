import { Injectable } from '@nestjs/common';

/** Time as the control plane sees it; replaced in tests. */
@Injectable()
export class Clock {
  /** Wall clock, for people and records. */
  nowMs(): number {
    return Date.now();
  }

  /** Never steps; for ages, deadlines and liveness. */
  monotonicMs(): number {
    return performance.now();
  }
}
