import { NbdUriError, parseNbdUri, type NbdAddress } from '@tidemark/base';
import { NbdClientSession, NbdServerSession, type NbdExport } from '@tidemark/nbd';
import { clientFlags, contextOption, goOption, infoOption, option, requestBytes, structuredReplyOption, usualHandshake } from '@tidemark/nbd/testing';
import type { Random } from '../sim/random.js';
import { joined, mutated, noise, pieces } from './mutate.js';
import { FuzzViolation, type FuzzTarget } from './target.js';

const DISK: NbdExport = { name: 'disk', description: 'd', sizeBytes: 1 << 20, isReadOnly: false };
const EXPORTS = { list: () => [DISK], find: (name: string) => (name === 'disk' ? DISK : undefined) };

function someRequest(random: Random): Uint8Array {
  const offset = random.pick([0, 512, 4096, (1 << 20) - 512, 1 << 20, 2 ** 40]);
  const type = random.int(9);
  if (type === 1) return requestBytes({ type, cookie: random.int(1e6), offset, payload: noise(random.int(2000), random) });
  return requestBytes({ type, cookie: random.int(1e6), offset, length: random.pick([0, 512, 4096, 1 << 20, 2 ** 31, 2 ** 32 - 1]), flags: random.chance(0.8) ? 0 : random.int(64) });
}

function someHandshake(random: Random): Uint8Array {
  if (random.chance(0.6)) return usualHandshake('disk');
  return joined([
    clientFlags(random.chance(0.8) ? 3 : random.int(16)),
    ...Array.from({ length: random.int(5) }, () => random.pick([structuredReplyOption(), infoOption('disk', [1, 3]), contextOption(10, 'disk', ['base:allocation', 'x:y']), option(random.int(12), noise(random.int(40), random))])),
    goOption(random.chance(0.7) ? 'disk' : 'other', [3]),
  ]);
}

const server: FuzzTarget = {
  name: 'nbd-server',
  gateCount: 1500,
  run(random) {
    const said = joined([someHandshake(random), ...Array.from({ length: random.int(6) }, () => someRequest(random))]);
    const input = random.chance(0.2) ? said : mutated(said, random);
    const session = new NbdServerSession({ exports: EXPORTS });
    for (const piece of pieces(input, random)) {
      session.feed(piece);
      for (let event = session.next(); event !== undefined; event = session.next()) {
        if (event.kind !== 'request') continue;
        if (event.offset + event.length > DISK.sizeBytes) throw new FuzzViolation('a request outside the export was handed on');
      }
    }
  },
};

/** What our own server answers to a client that negotiates, as a server's bytes. */
function serverGreeting(): Uint8Array {
  const client = new NbdClientSession('disk');
  const ours = new NbdServerSession({ exports: EXPORTS });
  const said: Uint8Array[] = [];
  for (let isReady = false; !isReady;) {
    for (let event = ours.next(); event !== undefined; event = ours.next()) {
      if (event.kind !== 'send') continue;
      said.push(event.bytes);
      client.feed(event.bytes);
    }
    for (let event = client.next(); event !== undefined; event = client.next()) {
      if (event.kind === 'send') ours.feed(event.bytes);
      isReady ||= event.kind === 'ready';
    }
  }
  return joined(said);
}
const GREETING = serverGreeting();

const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

/** A structured or simple reply with fields that need not fit together. */
function someReply(random: Random, cookie: number): Uint8Array {
  const id = [...u32(0), ...u32(random.chance(0.9) ? cookie : random.int(100))];
  if (random.chance(0.2)) return Uint8Array.from([...u32(0x6744_6698), ...u32(random.pick([0, 5, 22])), ...id]);
  const payload = random.chance(0.5) ? [...u32(0), ...u32(random.pick([0, 4096, 4196])), ...noise(random.int(120), random)] : [...noise(random.int(40), random)];
  const length = random.chance(0.8) ? payload.length : random.pick([0, 1, 8, 1 << 20, 2 ** 32 - 1]);
  return Uint8Array.from([...u32(0x668e_33ef), 0, random.int(4), 0, 0, ...id, ...u32(length), ...payload].map((byte, index) => (index === 7 ? random.pick([0, 1, 2, 5, 6, 32_769 & 255]) : byte)));
}

const client: FuzzTarget = {
  name: 'nbd-client',
  gateCount: 1500,
  run(random) {
    const session = new NbdClientSession('disk');
    const greeting = random.chance(0.5) ? GREETING : mutated(GREETING, random);
    const memory = new Uint8Array(1024).fill(0xa5);
    let isReady = false;
    const drain = (): void => {
      for (let event = session.next(); event !== undefined; event = session.next()) isReady ||= event.kind === 'ready';
    };
    for (const piece of pieces(greeting, random)) {
      session.feed(piece);
      drain();
    }
    if (!isReady) return;
    const { cookie } = session.request({ kind: 'read', offset: 4096, target: memory.subarray(256, 512) });
    if (random.chance(0.5)) session.request({ kind: 'status', offset: 0, length: 1 << 20 });
    try {
      for (const piece of pieces(joined(Array.from({ length: 1 + random.int(4) }, () => mutated(someReply(random, cookie + random.int(2)), random))), random)) {
        session.feed(piece);
        drain();
      }
    } finally {
      if (![...memory.subarray(0, 256), ...memory.subarray(512)].every((byte) => byte === 0xa5)) throw new FuzzViolation('a reply wrote outside the memory of its read');
    }
  },
};

const URIS = ['nbd://host.example:10809/disk', 'nbd://[2001:db8::1]:1/a%20b', 'nbd+unix:///disk?socket=/run/storage/a%2Fb.sock', 'nbd+unix:///?socket=/s', 'nbds://host/x'];

/** The path of a protected disk, as a user or a control message gives it. */
const uris: FuzzTarget = {
  name: 'nbd-uris',
  gateCount: 2000,
  run(random) {
    const text = Buffer.from(mutated(Buffer.from(random.pick(URIS)), random)).toString(random.chance(0.5) ? 'utf8' : 'latin1');
    let address: NbdAddress;
    try {
      address = parseNbdUri(random.chance(0.02) ? text + '%41/'.repeat(20_000) : text);
    } catch (error) {
      if (error instanceof NbdUriError) return;
      throw error;
    }
    if (Buffer.byteLength(address.exportName) > 4096 || address.exportName.includes('\0')) throw new FuzzViolation('an export name that no server may be asked for');
    if (address.kind === 'tcp' && (address.host === '' || !Number.isInteger(address.port) || address.port < 1 || address.port > 65_535)) throw new FuzzViolation('no host and port');
    if (address.kind === 'unix' && (!address.socketPath.startsWith('/') || Buffer.byteLength(address.socketPath) > 107 || address.socketPath.includes('\0'))) throw new FuzzViolation('no socket path');
  },
};

export const NBD_TARGETS: readonly FuzzTarget[] = [server, client, uris];
