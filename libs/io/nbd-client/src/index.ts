export * from './nbd-volume.js';
export * from './open-nbd-volume.js';
