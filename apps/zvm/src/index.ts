export { readConfig, type ZvmConfig } from './config.js';
export { startZvm, type Zvm } from './server.js';
