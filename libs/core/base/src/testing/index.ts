export { crc32cTable } from './crc32c-table.js';
