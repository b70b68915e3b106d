export type VbaState = 'Added' | 'Removing';

export interface VbaRecord {
  /** Decimal digits, as a VRA's; never given again. */
  readonly vbaId: string;
  /** Shown to people. */
  readonly name: string;
  /** The machine that it runs on, as its own settings call it. */
  readonly hostId: string;
  readonly address: string;
  readonly state: VbaState;
  readonly createdAtMs: number;
}
