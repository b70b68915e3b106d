export * from './messages.js';
export * from './vpg-record.js';
