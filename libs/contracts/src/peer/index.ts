export * from './messages.js';
export * from './answers.js';
export { isPeerNews } from './news-shape.js';
export * from './vpg-record.js';
