export { CheckpointView } from './checkpoint-view.js';
export type { CompactionOptions, CompactionResult } from './compactor.js';
export { crc32c, decompressBody } from './defaults.js';
export * from './file-layer.js';
export { HeadView } from './head-view.js';
export { JournalFile } from './journal-file.js';
export { nodeFiles } from './node-files.js';
export { ReadCache } from './read-cache.js';
export * from './types.js';
