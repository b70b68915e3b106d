export * from './splitter.js';
export * from './types.js';
