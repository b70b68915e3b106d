import { unreachable } from '@tidemark/base';
import type { ApplyJobs } from './apply-jobs.js';
import type { CheckpointLedger } from './checkpoint-ledger.js';
import type { JournalSnapshot } from './control-bodies.js';
import { JournalError } from './journal-error.js';
import { pinName, type Pins } from './pins.js';
import { epochStepError, phaseError, sessionError, staleEpochError } from './rules.js';
import type { JournalCommand, JournalState } from './types.js';
import { volumesError, type VolumeWish } from './volume-set.js';

/** What a command is judged by. `tail`: what the state will be when all that was taken in is durable. */
export interface CommandContext {
  readonly state: JournalState;
  readonly tail: JournalSnapshot;
  readonly ledger: CheckpointLedger;
  readonly pins: Pins;
  readonly apply: ApplyJobs;
  readonly isDead: boolean;
}

/** Why this command cannot be taken now; undefined: it can. */
export function commandError(command: JournalCommand, context: CommandContext): JournalError | undefined {
  const { state, tail } = context;
  if (context.isDead) return new JournalError('JOURNAL_IO', state.reason);
  switch (command.type) {
    case 'beginIncarnation':
      return phaseError(state, tail) ?? staleEpochError(command.epoch, tail) ?? sessionError(command.sessionId);
    case 'changeVolumes':
      return phaseError(state, tail) ?? volumesChangeError(command.volumes, tail);
    case 'reserveEpoch':
    case 'commitEpoch':
    case 'burnEpoch':
      return epochStepError(command.type, command.epoch, tail);
    case 'retire':
      return retireError(command.checkpointId, context);
    case 'thin':
      return tail.isEnded ? new JournalError('JOURNAL_ENDED', 'a failover was committed') : undefined;
    case 'allowApply':
      return context.apply.error(command.checkpointId, state.phase);
    case 'startPromotion':
      return promotionError(command.checkpointId, context);
    case 'finishPromotion':
      return tail.promotion?.checkpointId === command.checkpointId ? undefined
        : new JournalError('JOURNAL_CHECKPOINT', `checkpoint ${command.checkpointId} is not being promoted`);
    default:
      return unreachable(command);
  }
}

function volumesChangeError(wishes: readonly VolumeWish[], tail: JournalSnapshot): JournalError | undefined {
  const reason = volumesError(tail.volumes, wishes);
  return reason === undefined ? undefined : new JournalError('JOURNAL_ORDER', reason);
}

function retireError(checkpointId: number, { state, tail, ledger, pins }: CommandContext): JournalError | undefined {
  if (tail.isEnded) return new JournalError('JOURNAL_ENDED', 'a failover was committed');
  if (state.phase === 'broken') return new JournalError('JOURNAL_BROKEN', state.reason);
  const checkpoint = ledger.find(checkpointId);
  if (checkpoint === undefined) return new JournalError('JOURNAL_CHECKPOINT', `checkpoint ${checkpointId} is not held by the journal`);
  const pinned = pins.lowest();
  if (pinned === undefined || pinned.markerSeq >= checkpoint.markerSeq) return undefined;
  return new JournalError('JOURNAL_PINNED', `${pinName(pinned)} is in use`);
}

function promotionError(checkpointId: number, { tail, ledger, pins }: CommandContext): JournalError | undefined {
  const { promotion, isEnded } = tail;
  if (!isEnded) return new JournalError('JOURNAL_EPOCH', 'promotion before the failover is committed');
  if (promotion !== null && promotion.checkpointId === checkpointId) return undefined;
  if (promotion !== null) return new JournalError('JOURNAL_CHECKPOINT', `checkpoint ${promotion.checkpointId} is being promoted`);
  if (ledger.find(checkpointId) === undefined) return new JournalError('JOURNAL_CHECKPOINT', `checkpoint ${checkpointId} is not held`);
  const other = pins.otherReader(checkpointId);
  return other === undefined ? undefined : new JournalError('JOURNAL_PINNED', `${pinName(other)} is in use`);
}
