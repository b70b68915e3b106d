export * from './checkpoint-catalogue.js';
export * from './journal-intake.js';
export * from './journal-listing.js';
export * from './listing-allowance.js';
export * from './plan-run.js';
export * from './plans.js';
export * from './shared-vm-sets.js';
