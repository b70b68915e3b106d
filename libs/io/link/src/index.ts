export * from './body-codec.js';
export * from './checksum.js';
export * from './codec-pool.js';
export * from './connect-link.js';
export * from './link.js';
export * from './link-error.js';
export * from './link-server.js';
export { TlsTransport, type TlsTransportOptions } from './tls-transport.js';
export * from './transport.js';
