export * from './lane.js';
export * from './load-sys.js';
export * from './no-sys.js';
export * from './sys-error.js';
export * from './sys.js';
export * from './adopt-socket.js';
export * from './payload-pool.js';
export * from './network.js';
