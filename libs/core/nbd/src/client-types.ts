/** What a server said about its export. Checked: sizes are safe integers, block sizes powers of two. */
export interface NbdExportFacts {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly canFlush: boolean;
  readonly canFua: boolean;
  readonly canTrim: boolean;
  readonly canWriteZeroes: boolean;
  readonly canFastZero: boolean;
  /** Offsets and lengths must be multiples of it. */
  readonly blockBytesMin: number;
  /** Longest READ and WRITE. */
  readonly payloadBytesMax: number;
  readonly isStructured: boolean;
  /** Block status of base:allocation can be asked. */
  readonly hasAllocation: boolean;
}

export type NbdClientRequest =
  /** `target` is filled. */
  | { readonly kind: 'read'; readonly offset: number; readonly target: Uint8Array }
  | { readonly kind: 'write'; readonly offset: number; readonly source: Uint8Array; readonly isFua: boolean }
  | {
      readonly kind: 'writeZeroes';
      readonly offset: number;
      readonly length: number;
      readonly isFua: boolean;
      readonly mayUnmap: boolean;
      /** Fails with ENOTSUP rather than be slower than zeroes that are written. Only where the server offers it. */
      readonly isFastOnly: boolean;
    }
  | { readonly kind: 'flush' }
  /** At most CLIENT_STATUS_BYTES_MAX. */
  | { readonly kind: 'status'; readonly offset: number; readonly length: number };

/** A run of `base:allocation`. */
export interface NbdStatusRun {
  readonly length: number;
  readonly isHole: boolean;
  readonly isZero: boolean;
}

export type NbdClientEvent =
  /** Bytes for the server. */
  | { readonly kind: 'send'; readonly bytes: Uint8Array }
  /** Begin TLS on the connection now, then call `secured`. Nothing of the clear text is left. */
  | { readonly kind: 'startTls' }
  /** The negotiation is over: requests may be sent. */
  | { readonly kind: 'ready'; readonly facts: NbdExportFacts }
  /** The server will not serve this export to us; `isMissing`: it has none of that name. Close the connection. */
  | { readonly kind: 'refused'; readonly message: string; readonly isMissing: boolean }
  /** A request ended. `errno` 0: it succeeded. `runs`: of a status request, at least one, not beyond what was asked. */
  | { readonly kind: 'done'; readonly cookie: number; readonly errno: number; readonly message: string; readonly runs: readonly NbdStatusRun[] };
