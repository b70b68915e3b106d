import { ACTIVITY_TARGETS } from './activity-targets.js';
import { ANSWER_TARGETS } from './answer-targets.js';
import { EVENT_TARGETS } from './event-targets.js';
import { JOURNAL_TARGETS } from './journal-targets.js';
import { MESSAGE_TARGETS } from './message-targets.js';
import { NBD_TARGETS } from './nbd-targets.js';
import { TRUST_TARGETS } from './trust-targets.js';
import { WIRE_TARGETS } from './wire-targets.js';

/** Every decoder of bytes that come from a peer or from a disk. */
export const TARGETS = [...WIRE_TARGETS, ...NBD_TARGETS, ...JOURNAL_TARGETS, ...MESSAGE_TARGETS, ...ANSWER_TARGETS, ...EVENT_TARGETS, ...ACTIVITY_TARGETS, ...TRUST_TARGETS];
