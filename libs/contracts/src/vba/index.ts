export * from './messages.js';
export * from './command-list.js';
export { isVbaStatus } from './status-shape.js';
