/** Which VRA a journal and its mirrors belong to, as the file beside them says. */
export interface JournalOwnership {
  readonly vraId: string;
  /** Of the move that brought them there; 0: they were made there. */
  readonly moveNumber: number;
  /** The move for which it has let go: whoever has that number, or a later one, may take over. null: it may have the files open. */
  readonly releasedTo: number | null;
}

/** A VRA that wants to open a journal, by the move that brings it there. */
export interface JournalClaim {
  readonly vraId: string;
  readonly moveNumber: number;
  /** The operator's word that the host of whoever has not let go is down. */
  readonly isOldHostDown: boolean;
}

/** The lowest number of a move with which this VRA may open what belongs to `found`. */
const numberNeeded = (found: JournalOwnership, vraId: string): number => found.releasedTo ?? (found.vraId === vraId ? found.moveNumber : found.moveNumber + 1);

/** It belongs to another VRA by now, or was let go for a later move: nothing may be written, and what is open must be closed. */
export const isMoved = (found: JournalOwnership, { vraId, moveNumber }: Pick<JournalClaim, 'vraId' | 'moveNumber'>): boolean => moveNumber < numberNeeded(found, vraId);

/** Journal and mirrors come from another VRA, or back to this one: they are there, and whatever is missing is lost, not new. */
export const isTakenOver = (found: JournalOwnership | undefined, { vraId, moveNumber }: Pick<JournalClaim, 'vraId' | 'moveNumber'>): boolean =>
  moveNumber > 0 && (found?.vraId !== vraId || found.releasedTo !== null);

/** `moved`: see {@link isMoved}. `notReleased`: whoever has it has not let go, and nobody says that its host is down. docs/spec/journal.md, Another VRA takes over */
export function claimVerdict(found: JournalOwnership | undefined, claim: JournalClaim): 'open' | 'moved' | 'notReleased' {
  if (found && isMoved(found, claim)) return 'moved';
  return isTakenOver(found, claim) && typeof found?.releasedTo !== 'number' && !claim.isOldHostDown ? 'notReleased' : 'open';
}

/** What `vraId` writes when it has closed all files for a move; undefined: nothing, for they are not its own (any more), or it has written that already. */
export function letGo(found: JournalOwnership | undefined, { vraId, moveNumber }: Pick<JournalClaim, 'vraId' | 'moveNumber'>): JournalOwnership | undefined {
  if (found?.vraId !== vraId || found.moveNumber >= moveNumber || (found.releasedTo ?? 0) >= moveNumber) return undefined;
  return { ...found, releasedTo: moveNumber };
}
