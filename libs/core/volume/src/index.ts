export * from './volume.js';
export * from './volume-error.js';
