export * from './client-handshake.js';
export * from './client-session.js';
export * from './client-types.js';
export * from './limits.js';
export * from './replies.js';
export * from './server-session.js';
export type { AllocateBytes } from './transmission.js';
export * from './types.js';
export * from './wire.js';
