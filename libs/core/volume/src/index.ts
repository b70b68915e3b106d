export * from './aligned-volume.js';
export * from './fault-volume.js';
export * from './memory-volume.js';
export * from './volume-check.js';
export * from './volume-error.js';
export * from './volume.js';
