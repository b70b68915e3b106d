export * from './free-port.js';
export * from './secured-nats.js';
export * from './oidc-provider.js';
