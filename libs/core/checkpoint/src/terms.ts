import { assert } from '@tidemark/base';

/** 16 million checkpoints a term: at one a second, half a year; then the leader takes a new term. */
export const CHECKPOINTS_PER_TERM = 2 ** 24;
/**
 * Every version of a barrier starts its own row of terms, so that a new set of VRAs, none of which ever heard of the old
 * terms, still numbers its checkpoints above all older ones.
 */
const TERMS_PER_VERSION = 2 ** 12;
/** Checkpoint ids stay safe integers. */
export const TERM_MAX = 2 ** 29 - 1;
export const VERSION_MAX = Math.floor(TERM_MAX / TERMS_PER_VERSION);

export const firstTermOf = (version: number): number => (version - 1) * TERMS_PER_VERSION + 1;

/** The lowest term that may be claimed in `version` by who has seen `seenTerm`. */
export const nextTerm = (version: number, seenTerm: number): number => Math.max(firstTermOf(version), seenTerm + 1);

/** `index` counts from 1 inside a term. */
export function checkpointIdOf({ term, index }: { term: number; index: number }): number {
  assert(term >= 1 && term <= TERM_MAX && index >= 1 && index < CHECKPOINTS_PER_TERM, 'checkpoint number out of range');
  return (term - 1) * CHECKPOINTS_PER_TERM + index;
}

export const termOf = (checkpointId: number): number => Math.floor(checkpointId / CHECKPOINTS_PER_TERM) + 1;
