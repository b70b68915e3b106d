import { describe, expect, it } from '@jest/globals';
import { utf8Bytes, viewOf } from '@tidemark/base';
import { type NbdExport, type NbdRequest, NbdServerSession, type NbdServerEvent } from './index.js';
import {
  clientFlags, contextOption, goOption, infoOption, joined, option, requestBytes, serverMessages, type ClientRequest, type ServerMessage,
  structuredReplyOption, u32, usualHandshake,
} from './testing/index.js';
import { CommandFlag, CommandType, InfoType, OptionReply, OptionType, TransmissionFlag } from './wire.js';

const MiB = 1024 * 1024;
const DISK: NbdExport = { name: 'disk', description: 'the disk', sizeBytes: 100 * MiB + 1000, isReadOnly: false };
const FROZEN: NbdExport = { name: 'frozen', description: '', sizeBytes: 4096, isReadOnly: true };
const exports = { list: () => [DISK, FROZEN], find: (name: string) => [DISK, FROZEN].find((each) => each.name === name) };

function eventsOf(session: NbdServerSession): NbdServerEvent[] {
  const events: NbdServerEvent[] = [];
  for (let event = session.next(); event !== undefined; event = session.next()) events.push(event);
  return events;
}
function converse(bytes: Uint8Array): { raw: Uint8Array; requests: NbdRequest[]; events: NbdServerEvent[] } {
  const session = new NbdServerSession({ exports });
  session.feed(bytes);
  const events = eventsOf(session);
  const raw = joined(events.flatMap((event) => (event.kind === 'send' ? [event.bytes] : [])));
  return { raw, requests: events.flatMap((event) => (event.kind === 'request' ? [event] : [])), events };
}
const negotiate = (...options: Uint8Array[]): ServerMessage[] => serverMessages(converse(joined([clientFlags(), ...options])).raw.slice(18));
const typesOf = (messages: ServerMessage[]): number[] => messages.map((message) => (message.kind === 'option' ? message.type : -1));

function transmit(request: ClientRequest, name = 'disk'): { requests: NbdRequest[]; replies: ServerMessage[] } {
  const before = converse(usualHandshake(name)).raw.length;
  const { raw, requests } = converse(joined([usualHandshake(name), requestBytes(request)]));
  return { requests, replies: serverMessages(raw.slice(before)) };
}
const errnoOf = (request: ClientRequest, name?: string): number => {
  const { requests, replies } = transmit(request, name);
  expect(requests).toEqual([]);
  const [reply] = replies;
  return reply?.kind === 'simple' || reply?.kind === 'error' ? reply.errno : -1;
};

describe('NBD before TLS', () => {
  const before = (bytes: Uint8Array, ...more: Uint8Array[]): NbdServerEvent[] => {
    const session = new NbdServerSession({ exports, tls: 'required' });
    session.feed(bytes);
    const events = eventsOf(session);
    for (const chunk of more) session.feed(chunk);
    return [...events, ...eventsOf(session)];
  };
  const repliesOf = (events: NbdServerEvent[]): number[] => typesOf(serverMessages(joined(events.flatMap((event) => (event.kind === 'send' ? [event.bytes] : []))).slice(18)));
  const startTls = option(OptionType.startTls, new Uint8Array(0));

  it('answers every option with the word that TLS is required, and names no export', () => {
    const events = before(joined([clientFlags(), goOption('disk'), infoOption('disk'), structuredReplyOption(), option(OptionType.list, new Uint8Array(0)), contextOption(OptionType.setMetaContext, 'disk', ['base:allocation'])]));
    expect(repliesOf(events)).toEqual([1, 2, 3, 4, 5].map(() => OptionReply.errTlsRequired));
    expect(events.every(({ kind }) => kind === 'send')).toBe(true);
    expect(() => before(joined([clientFlags(), option(OptionType.exportName, utf8Bytes('disk'))]))).toThrow('before TLS');
  });

  it('acknowledges STARTTLS, hands over, and takes nothing more', () => {
    const events = before(joined([clientFlags(), startTls]), goOption('disk'));
    expect(repliesOf(events)).toEqual([OptionReply.ack]);
    expect(events.at(-1)).toEqual({ kind: 'startTls', clientFlags: 3 });
  });

  it('ends for bytes that came in clear text behind STARTTLS', () => {
    expect(() => before(joined([clientFlags(), startTls, goOption('disk')]))).toThrow('behind STARTTLS');
  });

  it('goes on behind TLS without a greeting and without flags, and refuses TLS in TLS', () => {
    const session = new NbdServerSession({ exports, tls: { clientFlags: 3 } });
    expect(eventsOf(session)).toEqual([]);
    session.feed(joined([startTls, goOption('disk')]));
    const events = eventsOf(session);
    const raw = joined(events.flatMap((event) => (event.kind === 'send' ? [event.bytes] : [])));
    expect(typesOf(serverMessages(raw))).toEqual([OptionReply.errInvalid, OptionReply.info, OptionReply.info, OptionReply.ack]);
    expect(events.at(-1)).toEqual({ kind: 'attach', exportName: 'disk' });
  });
});

describe('NBD negotiation', () => {
  it('greets with fixed newstyle before anything arrives', () => {
    const [event] = eventsOf(new NbdServerSession({ exports }));
    expect(event?.kind === 'send' && new TextDecoder().decode(event.bytes.slice(0, 16))).toBe('NBDMAGICIHAVEOPT');
    expect(event?.kind === 'send' && [...event.bytes.slice(16)]).toEqual([0, 3]);
  });

  it('GO tells size, flags and block sizes, then attaches', () => {
    const { raw, events } = converse(joined([clientFlags(), structuredReplyOption(), goOption('disk')]));
    const messages = serverMessages(raw.slice(18));
    expect(typesOf(messages)).toEqual([OptionReply.ack, OptionReply.info, OptionReply.info, OptionReply.ack]);
    const [, size, blocks] = messages.map((message) => viewOf(message.kind === 'option' ? message.body : new Uint8Array(0)));
    expect([size?.getUint16(0), Number(size?.getBigUint64(2))]).toEqual([InfoType.export, DISK.sizeBytes]);
    const flags = size?.getUint16(10) ?? 0;
    const { readOnly, sendFastZero } = TransmissionFlag;
    for (const flag of Object.values(TransmissionFlag)) expect((flags & flag) !== 0).toBe(flag !== readOnly && flag !== sendFastZero);
    expect([blocks?.getUint16(0), blocks?.getUint32(2), blocks?.getUint32(6), blocks?.getUint32(10)]).toEqual([InfoType.blockSize, 1, 4096, 32 * MiB]);
    expect(events.at(-1)).toEqual({ kind: 'attach', exportName: 'disk' });
  });

  it('a read-only export offers no writes, and DF only with structured replies', () => {
    const [info] = negotiate(goOption('frozen'));
    const flags = info?.kind === 'option' ? viewOf(info.body).getUint16(10) : 0;
    const { readOnly, sendTrim, sendWriteZeroes, sendDf } = TransmissionFlag;
    expect(flags & (readOnly | sendTrim | sendWriteZeroes | sendDf)).toBe(readOnly);
  });

  it('INFO gives name and description when asked, and does not attach', () => {
    const { raw, events } = converse(joined([clientFlags(), infoOption('disk', [InfoType.name, InfoType.description])]));
    const texts = serverMessages(raw.slice(18)).slice(2, 4).map((message) => (message.kind === 'option' ? new TextDecoder().decode(message.body.slice(2)) : ''));
    expect([texts, events.some(({ kind }) => kind === 'attach')]).toEqual([['disk', 'the disk'], false]);
  });

  it('LIST names every export', () => {
    const messages = negotiate(option(OptionType.list));
    expect(typesOf(messages)).toEqual([OptionReply.server, OptionReply.server, OptionReply.ack]);
    expect(messages[0]?.kind === 'option' && new TextDecoder().decode(messages[0].body.slice(4))).toBe('diskthe disk');
  });

  it('EXPORT_NAME answers with or without padding', () => {
    const name = option(OptionType.exportName, utf8Bytes('disk'));
    expect(converse(joined([clientFlags(3), name])).raw.length).toBe(18 + 10);
    const padded = converse(joined([clientFlags(1), name]));
    expect([padded.raw.length, padded.events.at(-1)?.kind]).toEqual([18 + 134, 'attach']);
    expect(() => converse(joined([clientFlags(), option(OptionType.exportName, utf8Bytes('none'))]))).toThrow('no such export');
  });

  it('an unknown name, a bad body and an unknown option are answered, and the client may go on', () => {
    const startTls = option(OptionType.startTls);
    const tooLong = option(OptionType.go, joined([u32(100), utf8Bytes('disk'), new Uint8Array(2)]));
    const notUtf8 = option(OptionType.go, joined([u32(1), new Uint8Array([0xff]), new Uint8Array(2)]));
    const messages = negotiate(goOption('none'), startTls, option(99), tooLong, notUtf8, option(OptionType.list, u32(1)), infoOption('disk'));
    expect(typesOf(messages).slice(0, 6)).toEqual([OptionReply.errUnknown, OptionReply.errUnsupported, OptionReply.errUnsupported,
      OptionReply.errInvalid, OptionReply.errInvalid, OptionReply.errInvalid]);
    expect(typesOf(messages).at(-1)).toBe(OptionReply.ack);
  });

  it('ABORT is acknowledged and ends', () => {
    const { raw, events } = converse(joined([clientFlags(), option(OptionType.abort), goOption('disk')]));
    expect(typesOf(serverMessages(raw.slice(18)))).toEqual([OptionReply.ack]);
    expect(events.at(-1)).toEqual({ kind: 'disconnect' });
  });

  it.each([
    ['list all', OptionType.listMetaContext, [], true], ['list a prefix', OptionType.listMetaContext, ['base:'], true],
    ['list another', OptionType.listMetaContext, ['qemu:'], false], ['set it', OptionType.setMetaContext, ['qemu:x', 'base:allocation'], true],
    ['set none', OptionType.setMetaContext, [], false], ['set a prefix', OptionType.setMetaContext, ['base:'], false],
  ])('meta contexts: %s', (_name, type, queries, isThere) => {
    const [, ...messages] = negotiate(structuredReplyOption(), contextOption(type, 'disk', queries));
    expect(typesOf(messages)).toEqual(isThere ? [OptionReply.metaContext, OptionReply.ack] : [OptionReply.ack]);
  });

  it('meta contexts need structured replies and a known export', () => {
    expect(typesOf(negotiate(contextOption(OptionType.setMetaContext, 'disk', ['base:allocation'])))).toEqual([OptionReply.errInvalid]);
    expect(typesOf(negotiate(structuredReplyOption(), contextOption(OptionType.setMetaContext, 'none', []))).at(-1)).toBe(OptionReply.errUnknown);
  });

  it.each([
    ['unknown client flags', u32(8), 'PROTOCOL_RESERVED'],
    ['an option without magic', joined([clientFlags(), new Uint8Array(16)]), 'PROTOCOL_MAGIC'],
    ['an oversize option, before its body arrives', joined([clientFlags(), option(OptionType.list).slice(0, 12), u32(16 * 1024 + 1)]), 'PROTOCOL_LIMIT'],
    ['endless options', joined([clientFlags(), ...Array.from({ length: 300 }, () => option(99))]), 'PROTOCOL_LIMIT'],
  ])('%s breaks the connection for good', (_name, bytes, code) => {
    const session = new NbdServerSession({ exports });
    session.feed(bytes);
    expect(() => eventsOf(session)).toThrow(expect.objectContaining({ name: 'ProtocolError', code }));
    session.feed(goOption('disk'));
    expect(() => session.next()).toThrow(expect.objectContaining({ code }));
  });
});

describe('NBD requests', () => {
  const { read, write, flush, trim, writeZeroes, blockStatus } = CommandType;
  const { fua, noHole, df, reqOne } = CommandFlag;
  const end = DISK.sizeBytes;

  it('come out as they were sent', () => {
    const payload = new Uint8Array(4096).fill(7);
    expect(transmit({ type: write, cookie: 2 ** 40 + 5, offset: 8192, payload, flags: fua }).requests).toEqual([expect.objectContaining({
      command: 'write', cookieHigh: 256, cookieLow: 5, offset: 8192, length: 4096, isFua: true, payload,
    })]);
    expect(transmit({ type: read, cookie: 1, offset: end - 1, length: 1, flags: df }).requests).toEqual([expect.objectContaining({
      command: 'read', isStructured: true, isUnfragmented: true, isFua: false,
    })]);
    expect(transmit({ type: writeZeroes, cookie: 1, offset: 0, length: end, flags: noHole }).requests[0]).toMatchObject({ command: 'writeZeroes', mayUnmap: false, length: end });
    expect(transmit({ type: writeZeroes, cookie: 1, offset: 5, length: 7 }).requests[0]).toMatchObject({ mayUnmap: true, offset: 5, length: 7 });
    expect(transmit({ type: blockStatus, cookie: 1, offset: 0, length: end, flags: reqOne }).requests[0]).toMatchObject({ command: 'blockStatus', isOneRun: true });
    expect(transmit({ type: flush, cookie: 1 }).requests[0]).toMatchObject({ command: 'flush', isStructured: false });
  });

  it.each([[4096, 8192, 4096, 8192], [1, 8192, 4096, 4096], [4096, 8191, 4096, 4096], [end - 1001, 1001, end - 1000, 1000]])(
    'TRIM of %d, %d bytes frees whole blocks only', (offset, length, wantedOffset, wantedLength) => {
      const { requests } = transmit({ type: trim, cookie: 1, offset, length });
      expect(requests).toEqual([expect.objectContaining({ command: 'writeZeroes', mayUnmap: true, offset: wantedOffset, length: wantedLength })]);
    });

  it('TRIM without a whole block succeeds and does nothing', () => {
    const { requests, replies } = transmit({ type: trim, cookie: 3, offset: 1, length: 8190 });
    expect([requests, replies]).toEqual([[], [{ kind: 'simple', cookie: 3, errno: 0, bytes: new Uint8Array(0) }]]);
  });

  it.each<[string, number, ClientRequest, string]>([
    ['a read beyond the end', 22, { type: read, cookie: 1, offset: end - 1, length: 2 }, 'disk'],
    ['a read far beyond 2^53', 22, { type: read, cookie: 1, offset: 2 ** 60, length: 2 }, 'disk'],
    ['a read above 32 MiB', 22, { type: read, cookie: 1, offset: 0, length: 32 * MiB + 1 }, 'disk'],
    ['a read of nothing', 22, { type: read, cookie: 1, offset: 0, length: 0 }, 'disk'],
    ['a write beyond the end', 28, { type: write, cookie: 1, offset: end - 1, payload: new Uint8Array(2) }, 'disk'],
    ['a write of nothing', 22, { type: write, cookie: 1, offset: 0, payload: new Uint8Array(0) }, 'disk'],
    ['a trim beyond the end', 22, { type: trim, cookie: 1, offset: end - 1, length: 2 }, 'disk'],
    ['zeroes beyond the end', 28, { type: writeZeroes, cookie: 1, offset: end, length: 1 }, 'disk'],
    ['a status beyond the end', 22, { type: blockStatus, cookie: 1, offset: 0, length: end + 1 }, 'disk'],
    ['a flush with a range', 22, { type: flush, cookie: 1, offset: 1, length: 0 }, 'disk'],
    ['an unknown command', 22, { type: 77, cookie: 1, offset: 0, length: 1 }, 'disk'],
    ['a flag of another command', 22, { type: read, cookie: 1, offset: 0, length: 1, flags: noHole }, 'disk'],
    ['fast zero, which was not offered', 22, { type: writeZeroes, cookie: 1, offset: 0, length: 1, flags: 16 }, 'disk'],
    ['a write to a read-only export', 1, { type: write, cookie: 1, offset: 0, payload: new Uint8Array(2) }, 'frozen'],
    ['zeroes to a read-only export', 1, { type: writeZeroes, cookie: 1, offset: 0, length: 2 }, 'frozen'],
    ['a trim of a read-only export', 1, { type: trim, cookie: 1, offset: 0, length: 2 }, 'frozen'],
  ])('%s gets errno %d', (_name, errno, request, name) => {
    expect(errnoOf(request, name)).toBe(errno);
  });

  it('a refused write is skipped with its payload, and the next request is understood', () => {
    const bytes = joined([usualHandshake('frozen'), requestBytes({ type: write, cookie: 1, offset: 0, payload: new Uint8Array(1000) }),
      requestBytes({ type: read, cookie: 2, offset: 0, length: 512 })]);
    expect(converse(bytes).requests).toEqual([expect.objectContaining({ command: 'read', cookieLow: 2 })]);
  });

  it('block status and DF need what was negotiated', () => {
    const plain = (request: ClientRequest): ServerMessage | undefined => {
      const handshake = joined([clientFlags(), goOption('disk')]);
      return serverMessages(converse(joined([handshake, requestBytes(request)])).raw.slice(converse(handshake).raw.length))[0];
    };
    expect(plain({ type: blockStatus, cookie: 9, offset: 0, length: 512 })).toMatchObject({ kind: 'simple', errno: 22, cookie: 9 });
    expect(plain({ type: read, cookie: 9, offset: 0, length: 512, flags: df })).toMatchObject({ kind: 'simple', errno: 22 });
    const otherExport = joined([clientFlags(), structuredReplyOption(), contextOption(OptionType.setMetaContext, 'frozen', ['base:allocation']), goOption('disk')]);
    const { raw } = converse(joined([otherExport, requestBytes({ type: blockStatus, cookie: 9, offset: 0, length: 512 })]));
    expect(serverMessages(raw.slice(converse(otherExport).raw.length))[0]).toMatchObject({ kind: 'error', errno: 22 });
  });

  it('DISC ends, and what follows is not looked at', () => {
    const { events } = converse(joined([usualHandshake('disk'), requestBytes({ type: CommandType.disconnect, cookie: 0 }), new Uint8Array(100)]));
    expect(events.at(-1)).toEqual({ kind: 'disconnect' });
  });

  it('an oversize write breaks the connection before anything is allocated for it', () => {
    const session = new NbdServerSession({ exports, allocate: () => { throw new Error('allocated'); } });
    session.feed(usualHandshake('disk'));
    eventsOf(session);
    session.feed(joined([requestBytes({ type: write, cookie: 1, offset: 0, length: 32 * MiB + 1 }), new Uint8Array(10)]));
    expect(() => session.next()).toThrow(expect.objectContaining({ code: 'PROTOCOL_LIMIT' }));
  });

  it.each([
    { length: 64 * 1024, place: 64 * 1024 },
    { length: 4096, place: undefined },
  ])('a payload of $length bytes whose header came alone has a place of $place bytes', ({ length, place }) => {
    const session = new NbdServerSession({ exports });
    session.feed(usualHandshake('disk'));
    eventsOf(session);
    const bytes = requestBytes({ type: write, cookie: 1, offset: 0, payload: new Uint8Array(length).fill(7) });
    session.feed(bytes.subarray(0, bytes.length - length));
    expect([eventsOf(session), session.payloadRest?.length]).toEqual([[], place]);
    session.feed(bytes.subarray(bytes.length - length));
    expect(eventsOf(session)).toMatchObject([{ kind: 'request', command: 'write', length }]);
  });

  it('a request without magic breaks the connection', () => {
    expect(() => converse(joined([usualHandshake('disk'), new Uint8Array(28)]))).toThrow(expect.objectContaining({ code: 'PROTOCOL_MAGIC' }));
  });

  it('hands over a payload of one chunk without copying it', () => {
    const session = new NbdServerSession({ exports });
    session.feed(usualHandshake('disk'));
    eventsOf(session);
    const chunk = requestBytes({ type: write, cookie: 1, offset: 0, payload: new Uint8Array(512).fill(3) });
    session.feed(chunk);
    const request = session.next();
    expect(request?.kind === 'request' && request.payload.buffer === chunk.buffer).toBe(true);
  });
});
