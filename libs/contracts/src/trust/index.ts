export * from './messages.js';
export { IDENTITY_GRANT } from './answers.js';
