/**
 * What the world did to us: a disk error, a broken peer, a wrong request. Each library derives one class with a
 * closed union of codes (`AREA_FACT`) and decides there whether trying again can help.
 */
export abstract class TidemarkError<Code extends string = string> extends Error {
  constructor(
    readonly code: Code,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = new.target.name;
  }

  abstract get isRetryable(): boolean;
}

export type ProtocolErrorCode =
  | 'PROTOCOL_CHECKSUM'
  | 'PROTOCOL_MAGIC'
  | 'PROTOCOL_VERSION'
  | 'PROTOCOL_KIND'
  | 'PROTOCOL_LIMIT'
  | 'PROTOCOL_RESERVED'
  | 'PROTOCOL_LAYOUT'
  | 'PROTOCOL_ORDER';

/** Bytes of a peer or of a file that are not what the specification allows. The link is dropped, never retried as is. */
export class ProtocolError extends TidemarkError<ProtocolErrorCode> {
  get isRetryable(): boolean {
    return false;
  }
}
