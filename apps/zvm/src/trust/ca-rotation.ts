import type { CaPhase } from '@tidemark/trust';

/** Somebody who has to follow a rotation of the CA before it can go on. */
export interface CaFollower {
  /** `VRA 'Z-VRA-host1'`, `site 'Berlin'` */
  readonly name: string;
  /** It has shown that it believes what the newest CA signs. */
  readonly trustsNewest: boolean;
  /** What it shows to others is signed by the newest CA; true for one that shows nothing. */
  readonly usesNewest: boolean;
}

export type RotationStep = 'switch' | 'retire';

export interface RotationView {
  /** What can be done now; undefined: nothing, or nothing yet. */
  readonly step: RotationStep | undefined;
  /** Whom it waits for, in words. */
  readonly waitsFor: readonly string[];
}

/** What is next: a pure function of what is so now, so a rotation goes on wherever it was killed. */
export function rotationView(phase: CaPhase, followers: readonly CaFollower[]): RotationView {
  switch (phase) {
    case 'steady': return { step: undefined, waitsFor: [] };
    case 'announced': return viewOf('switch', followers.filter(({ trustsNewest }) => !trustsNewest).map(({ name }) => `${name} to believe the next CA`));
    case 'switched': return viewOf('retire', followers.filter(({ usesNewest }) => !usesNewest).map(({ name }) => `${name} to show a certificate of the new CA`));
  }
}

const viewOf = (step: RotationStep, waitsFor: readonly string[]): RotationView => ({ step: waitsFor.length === 0 ? step : undefined, waitsFor });
