export * from './checkpoint-catalogue.js';
export * from './plan-run.js';
export * from './plans.js';
