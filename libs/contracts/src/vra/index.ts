export * from './desired-state.js';
export * from './commands.js';
export * from './status.js';
export * from './command-list.js';
export { isVraStatus } from './status-shape.js';
