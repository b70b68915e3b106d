import { assert, ProtocolError, utf8Bytes, utf8Text, viewOf } from '@tidemark/base';
import type { NbdClientEvent, NbdExportFacts } from './client-types.js';
import type { Inbox } from './inbox.js';
import { OPTION_REPLIES_MAX, OPTION_REPLY_BYTES_MAX, PAYLOAD_BYTES_MAX } from './limits.js';
import {
  BASE_ALLOCATION, getOffset, HandshakeFlag, InfoType, NBD_MAGIC_HIGH, NBD_MAGIC_LOW, OPTION_HEADER_BYTES, OPTION_MAGIC_HIGH, OPTION_MAGIC_LOW,
  OPTION_REPLY_MAGIC_HIGH, OPTION_REPLY_MAGIC_LOW, OptionReply, OptionType, TransmissionFlag,
} from './wire.js';

const GREETING_BYTES = 18;
const REPLY_HEADER_BYTES = 20;
const BLOCK_BYTES_MAX = 64 * 1024;
const NO_LIMIT = 0xffff_ffff;
/** Where a server says nothing of block sizes, 32 MiB are what every server takes, and requests need no alignment that we know of. */
const SILENT_LIMITS = { blockBytesMin: 1, payloadBytesMax: PAYLOAD_BYTES_MAX };

interface ReplyHeader {
  readonly option: number;
  readonly type: number;
  readonly length: number;
}

/** What the client waits for, in this order. */
type Step = 'greeting' | typeof OptionType.startTls | 'securing' | typeof OptionType.structuredReply | typeof OptionType.setMetaContext | typeof OptionType.go | 'over';

type Option = Exclude<Step, 'greeting' | 'securing' | 'over'>;

/**
 * The client's side of a fixed newstyle negotiation: TLS if it is wanted (then without it nothing), structured replies and base:allocation if the server has them, then GO. Bytes
 * that no server may send, and replies without end, are a {@link ProtocolError}.
 */
export class ClientHandshake {
  readonly outgoing: NbdClientEvent[] = [];
  readonly #exportName: string;
  #step: Step = 'greeting';
  #header: ReplyHeader | undefined;
  #replyCount = 0;
  #isStructured = false;
  #contextId: number | undefined;
  #size: { readonly sizeBytes: number; readonly flags: number } | undefined;
  #limits = SILENT_LIMITS;

  readonly #isTlsWanted: boolean;

  constructor(exportName: string, { isTlsWanted }: { readonly isTlsWanted: boolean }) {
    this.#exportName = exportName;
    this.#isTlsWanted = isTlsWanted;
  }

  /** TLS is there, and whoever is behind it was looked at. */
  secured(): void {
    assert(this.#step === 'securing', 'TLS that was not asked for');
    this.#ask(OptionType.structuredReply, new Uint8Array(0));
  }

  /** The id under which the server reports base:allocation; undefined: not agreed. */
  get contextId(): number | undefined {
    return this.#contextId;
  }

  /** Takes the next message. False when it is not there as a whole yet, or nothing more is expected. */
  step(inbox: Inbox): boolean {
    if (this.#step === 'over' || this.#step === 'securing') return false;
    if (this.#step === 'greeting') return this.#takeGreeting(inbox);
    this.#header ??= this.#takeHeader(inbox, this.#step);
    if (this.#header === undefined || inbox.available < this.#header.length) return false;
    const { type, length } = this.#header;
    this.#header = undefined;
    this.#take(this.#step, type, inbox.take(length));
    // Whoever sits on the way could have put it there; it must not be read as if TLS had protected it.
    if (this.#isSecuring() && inbox.available > 0) throw new ProtocolError('PROTOCOL_ORDER', 'bytes in clear text behind the answer to STARTTLS');
    return true;
  }

  #takeGreeting(inbox: Inbox): boolean {
    if (inbox.available < GREETING_BYTES) return false;
    const view = viewOf(inbox.take(GREETING_BYTES));
    if (view.getUint32(0) !== NBD_MAGIC_HIGH || view.getUint32(4) !== NBD_MAGIC_LOW) throw new ProtocolError('PROTOCOL_MAGIC', 'not an NBD server');
    const isNewstyle = view.getUint32(8) === OPTION_MAGIC_HIGH && view.getUint32(12) === OPTION_MAGIC_LOW;
    const flags = view.getUint16(16);
    if (!isNewstyle || (flags & HandshakeFlag.fixedNewstyle) === 0) throw new ProtocolError('PROTOCOL_VERSION', 'the server does not speak fixed newstyle NBD');
    const ours = new Uint8Array(4);
    viewOf(ours).setUint32(0, HandshakeFlag.fixedNewstyle | (flags & HandshakeFlag.noZeroes));
    this.outgoing.push({ kind: 'send', bytes: ours });
    this.#ask(this.#isTlsWanted ? OptionType.startTls : OptionType.structuredReply, new Uint8Array(0));
    return true;
  }

  /** A call, so that the compiler does not take the step for what it was before the last message. */
  #isSecuring(): boolean {
    return this.#step === 'securing';
  }

  #takeHeader(inbox: Inbox, option: number): ReplyHeader | undefined {
    if (inbox.available < REPLY_HEADER_BYTES) return undefined;
    const view = viewOf(inbox.take(REPLY_HEADER_BYTES));
    if (view.getUint32(0) !== OPTION_REPLY_MAGIC_HIGH || view.getUint32(4) !== OPTION_REPLY_MAGIC_LOW) {
      throw new ProtocolError('PROTOCOL_MAGIC', 'option reply without its magic');
    }
    const header = { option: view.getUint32(8), type: view.getUint32(12), length: view.getUint32(16) };
    if (header.option !== option) throw new ProtocolError('PROTOCOL_ORDER', `reply to option ${header.option}, asked was ${option}`);
    if (header.length > OPTION_REPLY_BYTES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', `option reply of ${header.length} bytes`);
    this.#replyCount += 1;
    if (this.#replyCount > OPTION_REPLIES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', 'option replies without end');
    return header;
  }

  #take(step: Option, type: number, body: Uint8Array): void {
    switch (step) {
      case OptionType.startTls: return this.#takeTls(type, body);
      case OptionType.structuredReply:
        this.#isStructured = type === OptionReply.ack;
        if (!this.#isStructured && !isError(type)) throw unexpected(type);
        return this.#isStructured ? this.#ask(OptionType.setMetaContext, this.#contextQuery()) : this.#go();
      case OptionType.setMetaContext:
        if (type === OptionReply.metaContext) return this.#takeContext(body);
        if (isError(type)) this.#contextId = undefined;
        else if (type !== OptionReply.ack) throw unexpected(type);
        return this.#go();
      case OptionType.go:
        if (type === OptionReply.info) return this.#takeInfo(body);
        this.#step = 'over';
        if (isError(type)) return void this.outgoing.push(refusalOf(type, body, this.#exportName));
        if (type !== OptionReply.ack) throw unexpected(type);
        return void this.outgoing.push({ kind: 'ready', facts: this.#facts() });
    }
  }

  #takeTls(type: number, body: Uint8Array): void {
    this.#step = type === OptionReply.ack ? 'securing' : 'over';
    if (type === OptionReply.ack) return void this.outgoing.push({ kind: 'startTls' });
    if (!isError(type)) throw unexpected(type);
    const said = textOf(body);
    this.outgoing.push({ kind: 'refused', message: `the server offers no TLS, and without it nothing is read or written${said === '' ? '' : `: ${said}`}`, isMissing: false });
  }

  #ask(option: Option, body: Uint8Array): void {
    const bytes = new Uint8Array(OPTION_HEADER_BYTES + body.length);
    const view = viewOf(bytes);
    view.setUint32(0, OPTION_MAGIC_HIGH);
    view.setUint32(4, OPTION_MAGIC_LOW);
    view.setUint32(8, option);
    view.setUint32(12, body.length);
    bytes.set(body, OPTION_HEADER_BYTES);
    this.#step = option;
    this.#replyCount = 0;
    this.outgoing.push({ kind: 'send', bytes });
  }

  #contextQuery(): Uint8Array {
    const name = utf8Bytes(this.#exportName);
    const query = utf8Bytes(BASE_ALLOCATION);
    const body = new Uint8Array(4 + name.length + 8 + query.length);
    const view = viewOf(body);
    view.setUint32(0, name.length);
    body.set(name, 4);
    view.setUint32(4 + name.length, 1);
    view.setUint32(8 + name.length, query.length);
    body.set(query, 12 + name.length);
    return body;
  }

  #go(): void {
    const name = utf8Bytes(this.#exportName);
    const body = new Uint8Array(4 + name.length + 4);
    const view = viewOf(body);
    view.setUint32(0, name.length);
    body.set(name, 4);
    view.setUint16(4 + name.length, 1);
    view.setUint16(6 + name.length, InfoType.blockSize);
    this.#ask(OptionType.go, body);
  }

  #takeContext(body: Uint8Array): void {
    if (body.length < 4) throw new ProtocolError('PROTOCOL_LAYOUT', 'meta context without its id');
    if (textOf(body.subarray(4)) !== BASE_ALLOCATION) return;
    if (this.#contextId !== undefined) throw new ProtocolError('PROTOCOL_ORDER', 'base:allocation has two ids');
    this.#contextId = viewOf(body).getUint32(0);
  }

  #takeInfo(body: Uint8Array): void {
    const view = viewOf(body);
    const type = body.length < 2 ? -1 : view.getUint16(0);
    if (type === InfoType.export) {
      if (body.length !== 12) throw new ProtocolError('PROTOCOL_LAYOUT', `export info of ${body.length} bytes`);
      this.#size = { sizeBytes: getOffset(view, 2), flags: view.getUint16(10) };
    } else if (type === InfoType.blockSize) {
      if (body.length !== 14) throw new ProtocolError('PROTOCOL_LAYOUT', `block size info of ${body.length} bytes`);
      this.#limits = limitsOf(view.getUint32(2), view.getUint32(10));
    }
  }

  #facts(): NbdExportFacts {
    if (this.#size === undefined) throw new ProtocolError('PROTOCOL_ORDER', 'GO was acknowledged without the size of the export');
    const { sizeBytes, flags } = this.#size;
    if (!Number.isSafeInteger(sizeBytes)) throw new ProtocolError('PROTOCOL_LIMIT', 'export above 2^53 bytes');
    const has = (flag: number): boolean => (flags & flag) !== 0;
    if (!has(TransmissionFlag.hasFlags)) throw new ProtocolError('PROTOCOL_LAYOUT', 'transmission flags without their first bit');
    const { readOnly, sendFlush, sendFua, sendTrim, sendWriteZeroes, sendFastZero } = TransmissionFlag;
    return {
      sizeBytes,
      isReadOnly: has(readOnly),
      canFlush: has(sendFlush),
      canFua: has(sendFua),
      canTrim: has(sendTrim),
      canWriteZeroes: has(sendWriteZeroes),
      canFastZero: has(sendWriteZeroes) && has(sendFastZero),
      ...this.#limits,
      isStructured: this.#isStructured,
      hasAllocation: this.#contextId !== undefined,
    };
  }
}

const isError = (type: number): boolean => type >= 0x8000_0000;
const isPowerOfTwo = (value: number): boolean => value > 0 && Math.log2(value) % 1 === 0;
const unexpected = (type: number): ProtocolError => new ProtocolError('PROTOCOL_ORDER', `option reply of type ${type} where it means nothing`);

function limitsOf(minimum: number, maximum: number): { readonly blockBytesMin: number; readonly payloadBytesMax: number } {
  if (!isPowerOfTwo(minimum) || minimum > BLOCK_BYTES_MAX) throw new ProtocolError('PROTOCOL_LIMIT', `minimum block of ${minimum} bytes`);
  const most = maximum === NO_LIMIT ? PAYLOAD_BYTES_MAX : Math.min(maximum, PAYLOAD_BYTES_MAX);
  const payloadBytesMax = Math.floor(most / minimum) * minimum;
  if (payloadBytesMax < Math.max(minimum, 512)) throw new ProtocolError('PROTOCOL_LIMIT', `largest payload of ${maximum} bytes`);
  return { blockBytesMin: minimum, payloadBytesMax };
}

/** Text for people; a server that sends no UTF-8 has said nothing. */
export function textOf(bytes: Uint8Array): string {
  try {
    return utf8Text(bytes);
  } catch {
    return '';
  }
}

function refusalOf(type: number, body: Uint8Array, exportName: string): NbdClientEvent {
  const said = textOf(body);
  const words: Record<number, string> = {
    [OptionReply.errUnsupported]: 'the server does not know NBD_OPT_GO: it is too old',
    [OptionReply.errPolicy]: `the server does not let us have export '${exportName}'`,
    [OptionReply.errTlsRequired]: 'the server wants TLS, and this client was not told to use it',
    [OptionReply.errUnknown]: `the server has no export '${exportName}'`,
  };
  const message = words[type] ?? `the server refused export '${exportName}' (${type.toString(16)})`;
  return { kind: 'refused', message: said === '' ? message : `${message}: ${said}`, isMissing: type === OptionReply.errUnknown };
}
