export * from './plants.js';
export * from './run.js';
export { swarm, type SwarmOptions } from './swarm.js';
