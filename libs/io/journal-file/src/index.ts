export * from './file-layer.js';
export * from './types.js';
