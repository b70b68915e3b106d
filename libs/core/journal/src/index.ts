export * from './journal-error.js';
export * from './types.js';
