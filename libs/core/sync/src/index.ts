export * from './subtract.js';
export * from './sync-walk.js';
export * from './types.js';
