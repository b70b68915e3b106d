export * from './assert.js';
export * from './errors.js';
export * from './nbd-uri.js';
export * from './numbers.js';
export * from './plain-text.js';
export * from './ports.js';
export * from './text.js';
export * from './throttle.js';
