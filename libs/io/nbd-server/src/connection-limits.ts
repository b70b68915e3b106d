const MiB = 1024 * 1024;

/** What one connection may hold; above it the socket is not read. Each can be passed by one request. */
export interface ConnectionLimits {
  /** Requests that wait for their volume. */
  readonly requestsMax: number;
  /** Their bytes, payloads and replies alike. */
  readonly requestBytesMax: number;
  /** Replies that the client has not taken. */
  readonly replyBytesMax: number;
  /** For the whole negotiation. */
  readonly handshakeMs: number;
  /** For taking the last replies when the server closes. */
  readonly lingerMs: number;
}

/** 32 requests of 1 MiB, or 256 small ones, keep every disk busy; QEMU sends 16 at most. */
export const CONNECTION_LIMITS: ConnectionLimits = {
  requestsMax: 256,
  requestBytesMax: 32 * MiB,
  replyBytesMax: 8 * MiB,
  handshakeMs: 10_000,
  lingerMs: 2_000,
};
