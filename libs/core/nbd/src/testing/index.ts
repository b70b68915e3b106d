export * from './client-bytes.js';
export * from './reply-reader.js';
