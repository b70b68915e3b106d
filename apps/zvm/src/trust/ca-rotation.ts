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

/** Certificates of the old CA end with it, so those who have heard of the next one have to have theirs before. */
const LAST_CALL_MS = 24 * 3_600_000;

/** `untilOldEndsMs`: how long the CA that is to go is valid still. */
export interface RotationState {
  readonly phase: CaPhase;
  readonly untilOldEndsMs: number;
}

/**
 * What is next: a pure function of what is so now, so a rotation goes on wherever it was killed. It waits for everybody, but not beyond the end of the old CA: then nothing of
 * the old one is believed any more, and waiting would only take those who have followed along.
 */
export function rotationView({ phase, untilOldEndsMs }: RotationState, followers: readonly CaFollower[]): RotationView {
  switch (phase) {
    case 'steady': return { step: undefined, waitsFor: [] };
    case 'announced': return viewOf('switch', followers.filter(({ trustsNewest }) => !trustsNewest).map(({ name }) => `${name} to believe the next CA`), untilOldEndsMs <= LAST_CALL_MS);
    case 'switched': return viewOf('retire', followers.filter(({ usesNewest }) => !usesNewest).map(({ name }) => `${name} to show a certificate of the new CA`), untilOldEndsMs <= 0);
  }
}

const viewOf = (step: RotationStep, waitsFor: readonly string[], isLastMoment: boolean): RotationView => ({ step: waitsFor.length === 0 || isLastMoment ? step : undefined, waitsFor });
