export * from './layout.js';
export * from './types.js';
