import { EngineError } from './engine-error.js';
import { moveNumberOf } from './journal-owner.js';
import { volumeChangeError } from './mirror-set.js';
import type { RecoverySpec } from './types.js';

/** Throws VRA_CONFLICT for what cannot become of a recovery that is known. */
export function assertCanBecome(known: RecoverySpec, spec: RecoverySpec): void {
  const wrongVolumes = volumeChangeError(known.volumes, spec.volumes);
  if (wrongVolumes !== undefined) throw new EngineError('VRA_CONFLICT', wrongVolumes);
  if (known.protectedSiteId !== spec.protectedSiteId) throw new EngineError('VRA_CONFLICT', `this recovery is for site ${known.protectedSiteId}: another one cannot take it over`);
  if (known.journalFolder !== spec.journalFolder) throw new EngineError('VRA_CONFLICT', 'the journal of a recovery cannot be moved');
  if (moveNumberOf(spec) < moveNumberOf(known)) throw new EngineError('VRA_CONFLICT', `move ${String(moveNumberOf(known))} of this recovery is known here: this is older`);
}
