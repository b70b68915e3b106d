export * from './describe-volume.js';
export { differenceAt } from './volume-model.js';
