export * from './handshake-gate.js';
export * from './network-of.js';
