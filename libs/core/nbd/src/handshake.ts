import { ProtocolError, viewOf } from '@tidemark/base';
import type { Inbox } from './inbox.js';
import { OPTION_BYTES_MAX, OPTIONS_MAX } from './limits.js';
import { OptionBody, OptionError } from './option-body.js';
import { exportNameReply, greeting, infoReplies, metaContextReply, optionReply, serverReply } from './option-replies.js';
import type { NbdExport, NbdExports } from './types.js';
import { BASE_ALLOCATION, HandshakeFlag, OPTION_HEADER_BYTES, OPTION_MAGIC_HIGH, OPTION_MAGIC_LOW, OptionReply, OptionType } from './wire.js';

/** What was agreed when the client has chosen its export. */
export interface Agreement {
  readonly nbdExport: NbdExport;
  readonly isStructured: boolean;
  readonly hasBaseAllocation: boolean;
}

/**
 * `none`: there is no TLS. `required`: before anything else is answered the client has to ask for TLS. Client flags: TLS stands, the client has said
 * these before it, and goes on with its options.
 */
export type HandshakeTls = 'none' | 'required' | { readonly clientFlags: number };

interface Option {
  readonly type: number;
  readonly length: number;
}

/**
 * The fixed newstyle negotiation. Answers gather in `outgoing`. Ends with an {@link Agreement}, or with `isAborted`.
 * An option that is wrong in itself is answered; what breaks the framing or a limit is a {@link ProtocolError}.
 */
export class Handshake {
  readonly outgoing: Uint8Array[];
  isAborted = false;
  /** Set when the client is to begin its TLS handshake. */
  startTlsFlags: number | undefined;
  agreement: Agreement | undefined;
  readonly #exports: NbdExports;
  #clientFlags: number | undefined;
  #option: Option | undefined;
  #optionCount = 0;
  #isStructured = false;
  /** The export for which base:allocation was agreed. */
  #contextExport: string | undefined;

  constructor(exports: NbdExports, private readonly tls: HandshakeTls = 'none') {
    this.#exports = exports;
    const isSecured = typeof tls === 'object';
    this.#clientFlags = isSecured ? tls.clientFlags : undefined;
    this.outgoing = isSecured ? [] : [greeting()];
  }

  /** Takes the next message. False when it is not there as a whole yet. */
  step(inbox: Inbox): boolean {
    if (this.#clientFlags === undefined) return this.#takeClientFlags(inbox);
    this.#option ??= this.#takeOptionHeader(inbox);
    if (this.#option === undefined || inbox.available < this.#option.length) return false;
    const option = this.#option;
    this.#option = undefined;
    this.#answer(option.type, inbox.take(option.length));
    // What came in clear text must not be taken for what comes over TLS.
    if (this.startTlsFlags !== undefined && inbox.available > 0) throw new ProtocolError('PROTOCOL_ORDER', 'bytes behind STARTTLS before its answer');
    return true;
  }

  #takeClientFlags(inbox: Inbox): boolean {
    if (inbox.available < 4) return false;
    const flags = viewOf(inbox.take(4)).getUint32(0);
    const known = HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes;
    if ((flags & ~known) !== 0) throw new ProtocolError('PROTOCOL_RESERVED', `client flags ${flags.toString(16)}`);
    this.#clientFlags = flags;
    return true;
  }

  #takeOptionHeader(inbox: Inbox): Option | undefined {
    if (inbox.available < OPTION_HEADER_BYTES) return undefined;
    const view = viewOf(inbox.take(OPTION_HEADER_BYTES));
    if (view.getUint32(0) !== OPTION_MAGIC_HIGH || view.getUint32(4) !== OPTION_MAGIC_LOW) {
      throw new ProtocolError('PROTOCOL_MAGIC', 'option without its magic');
    }
    const length = view.getUint32(12);
    if (length > OPTION_BYTES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', `option of ${String(length)} bytes`);
    this.#optionCount += 1;
    if (this.#optionCount > OPTIONS_MAX) throw new ProtocolError('PROTOCOL_LIMIT', 'too many options');
    return { type: view.getUint32(8), length };
  }

  #answer(type: number, bytes: Uint8Array): void {
    if (this.tls === 'required') return this.#answerBeforeTls(type, bytes);
    if (type === OptionType.exportName) return this.#exportName(bytes);
    try {
      this.#answerFixed(type, new OptionBody(bytes));
    } catch (error) {
      if (!(error instanceof OptionError)) throw error;
      this.#reply(type, OptionReply.errInvalid);
    }
  }

  #answerBeforeTls(type: number, bytes: Uint8Array): void {
    switch (type) {
      case OptionType.abort:
        this.isAborted = true;
        return this.#reply(type, OptionReply.ack);
      case OptionType.startTls:
        if (bytes.byteLength > 0) return this.#reply(type, OptionReply.errInvalid);
        this.startTlsFlags = this.#clientFlags ?? 0;
        return this.#reply(type, OptionReply.ack);
      case OptionType.exportName:
        throw new ProtocolError('PROTOCOL_ORDER', 'an export is chosen before TLS');
      default:
        return this.#reply(type, OptionReply.errTlsRequired);
    }
  }

  #answerFixed(type: number, body: OptionBody): void {
    switch (type) {
      case OptionType.abort:
        this.isAborted = true;
        return this.#reply(type, OptionReply.ack);
      case OptionType.startTls:
        // TLS over TLS is nothing; without TLS this server has none.
        return this.#reply(type, this.tls === 'none' ? OptionReply.errUnsupported : OptionReply.errInvalid);
      case OptionType.list:
        return this.#list(body);
      case OptionType.info:
      case OptionType.go:
        return this.#infoOrGo(type, body);
      case OptionType.structuredReply:
        body.end();
        this.#isStructured = true;
        return this.#reply(type, OptionReply.ack);
      case OptionType.listMetaContext:
      case OptionType.setMetaContext:
        return this.#metaContext(type, body);
      default:
        return this.#reply(type, OptionReply.errUnsupported);
    }
  }

  /** The old way to choose: it has no error reply, so a wrong name ends the connection. */
  #exportName(bytes: Uint8Array): void {
    const nbdExport = this.#exports.find(nameOf(bytes));
    if (nbdExport === undefined) throw new ProtocolError('PROTOCOL_ORDER', 'no such export');
    const isPadded = ((this.#clientFlags ?? 0) & HandshakeFlag.noZeroes) === 0;
    this.outgoing.push(exportNameReply(nbdExport, { isStructured: this.#isStructured, isPadded }));
    this.#agree(nbdExport);
  }

  #list(body: OptionBody): void {
    body.end();
    for (const nbdExport of this.#exports.list()) this.outgoing.push(serverReply(OptionType.list, nbdExport));
    this.#reply(OptionType.list, OptionReply.ack);
  }

  #infoOrGo(type: typeof OptionType.info | typeof OptionType.go, body: OptionBody): void {
    const name = body.string();
    const types = new Set<number>();
    for (let left = body.u16(); left > 0; left -= 1) types.add(body.u16());
    body.end();
    const nbdExport = this.#exports.find(name);
    if (nbdExport === undefined) return this.#reply(type, OptionReply.errUnknown);
    this.outgoing.push(...infoReplies(type, nbdExport, { isStructured: this.#isStructured, types }));
    this.#reply(type, OptionReply.ack);
    if (type === OptionType.go) this.#agree(nbdExport);
  }

  #metaContext(type: typeof OptionType.listMetaContext | typeof OptionType.setMetaContext, body: OptionBody): void {
    const name = body.string();
    const queries: string[] = [];
    for (let left = body.u32(); left > 0; left -= 1) queries.push(body.string());
    body.end();
    // A failed or repeated SET voids the one before it.
    const isSet = type === OptionType.setMetaContext;
    if (isSet) this.#contextExport = undefined;
    if (!this.#isStructured) throw new OptionError('contexts need structured replies');
    if (this.#exports.find(name) === undefined) return this.#reply(type, OptionReply.errUnknown);
    const isWanted = isSet ? queries.includes(BASE_ALLOCATION)
      : queries.length === 0 || queries.includes('base:') || queries.includes(BASE_ALLOCATION);
    if (isWanted) this.outgoing.push(metaContextReply(type));
    if (isWanted && isSet) this.#contextExport = name;
    this.#reply(type, OptionReply.ack);
  }

  #agree(nbdExport: NbdExport): void {
    this.agreement = { nbdExport, isStructured: this.#isStructured, hasBaseAllocation: this.#contextExport === nbdExport.name };
  }

  #reply(option: number, type: number): void {
    this.outgoing.push(optionReply(option, type));
  }
}

function nameOf(bytes: Uint8Array): string {
  try {
    return new OptionBody(bytes).rest();
  } catch (error) {
    if (error instanceof OptionError) throw new ProtocolError('PROTOCOL_LAYOUT', error.message);
    throw error;
  }
}
