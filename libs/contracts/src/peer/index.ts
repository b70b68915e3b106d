export * from './messages.js';
export { isPeerNews } from './news-shape.js';
export * from './vpg-record.js';
