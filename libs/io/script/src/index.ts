export * from './process-script-runner.js';
export { OUTPUT_BYTES_MAX } from './output-tail.js';
export * from './script-error.js';
export * from './script-runner.js';
