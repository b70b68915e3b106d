export * from './block-file.js';
export type { BlockFileOptions } from './open-file.js';
