export * from './messages.js';
export { isVbaStatus } from './status-shape.js';
