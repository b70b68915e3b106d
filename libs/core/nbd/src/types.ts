/** What a client learns of an export. Nothing of it may change while the export stands. */
export interface NbdExport {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

/** The exports that a client may choose from, asked while it negotiates. */
export interface NbdExports {
  list(): readonly NbdExport[];
  find(name: string): NbdExport | undefined;
}

export type NbdCommand = 'read' | 'write' | 'writeZeroes' | 'flush' | 'blockStatus';

/**
 * One valid request: in the volume, allowed on this export, within limits. Every one must be answered once, in any order.
 * TRIM comes as writeZeroes that may unmap, its edges cut to whole 4 KiB blocks.
 */
export interface NbdRequest {
  readonly kind: 'request';
  readonly command: NbdCommand;
  /** The client's 8-byte cookie in two halves. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly offset: number;
  readonly length: number;
  readonly isFua: boolean;
  /** writeZeroes: space may be freed. */
  readonly mayUnmap: boolean;
  /** read: the reply must be one chunk. */
  readonly isUnfragmented: boolean;
  /** blockStatus: the reply must have one run. */
  readonly isOneRun: boolean;
  /** read, blockStatus: the reply is structured. */
  readonly isStructured: boolean;
  /** write: the bytes, which whoever takes the request owns from now on. Empty otherwise. */
  readonly payload: Uint8Array;
}

export type NbdServerEvent =
  /** Bytes for the client, in this order before anything that is answered later. */
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  /** The client has chosen; requests follow. */
  /** The acknowledgement has gone out; the client begins a TLS handshake. Behind it another session goes on, which is given these flags. Nothing follows here. */
  | { readonly kind: 'startTls'; readonly clientFlags: number }
  | { readonly kind: 'attach'; readonly exportName: string }
  | NbdRequest
  /** The client takes its leave: close after the replies to the requests in flight. Nothing follows. */
  | { readonly kind: 'disconnect' };
