export { ApiClient, type ApiClientOptions, type Credentials, type Entry, type Query, type TaskProgress, type WaitOptions } from './api-client.js';
export { ApiError, type ApiErrorCode } from './api-error.js';
export type { Trust } from './trusted-agent.js';
