export * from './barrier.js';
export * from './retirement-types.js';
export { checkpointIdOf, CHECKPOINTS_PER_TERM, firstTermOf, termOf, VERSION_MAX } from './terms.js';
export * from './types.js';
