export * from './checkpoint-catalogue.js';
export * from './journal-listing.js';
export * from './plan-run.js';
export * from './plans.js';
export * from './shared-vm-sets.js';
