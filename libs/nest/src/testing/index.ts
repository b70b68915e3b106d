export * from './free-port.js';
export * from './secured-nats.js';
