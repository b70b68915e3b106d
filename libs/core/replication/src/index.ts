export * from './memory-budget.js';
export * from './receiver.js';
export * from './sender.js';
export * from './types.js';
