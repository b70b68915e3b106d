export * from './dirty-bitmap.js';
export * from './extent-map.js';
export * from './extent.js';
