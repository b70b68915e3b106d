export * from './secured-nats.js';
