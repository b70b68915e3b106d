export * from './connection-limits.js';
export { type ExportOptions, type ExportStatus, ExportTable } from './export-table.js';
export type { SocketPlace, TcpPlace } from './listen.js';
export * from './nbd-server-error.js';
export * from './nbd-server.js';
export type { NbdTls } from './tls-gate.js';
