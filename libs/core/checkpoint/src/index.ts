export * from './barrier.js';
export * from './codec.js';
export * from './retirement.js';
export * from './retirement-types.js';
export { checkpointIdOf, CHECKPOINTS_PER_TERM, firstTermOf, termOf, VERSION_MAX } from './terms.js';
export * from './types.js';
export * from './thinning.js';
export * from './history-space.js';
export * from './running-clock.js';
