import { ProtocolError } from '@tidemark/base';
import { agree, decodeHello, encodeHello, FrameCodec, FrameDecoder, FrameKind, OWN_HELLO, type Agreement, type FrameHeader, type Hello } from '@tidemark/frame';
import { crc32c } from '@tidemark/link';
import type { Site } from './checkers.js';
import type { SimSocket } from './network.js';
import { concat, type SimHost } from './sim-host.js';
import { Random } from './random.js';
import type { Fault, SwarmOptions } from './swarm.js';
import { Violation, type World } from './world.js';

/** A program that a host may run: what it says of itself, and, for the checks alone, what is so. */
export interface Program {
  readonly hello: Hello;
  readonly speaks: readonly number[];
  readonly codecs: readonly FrameCodec[];
}

const ALL_CODECS = [FrameCodec.none, FrameCodec.lz4, FrameCodec.zstd];
export const OWN_PROGRAM: Program = { hello: OWN_HELLO, speaks: [1], codecs: ALL_CODECS };
const OTHER_PROGRAMS: readonly Program[] = [
  // Of before there were codecs.
  { hello: { versionMin: 1, versionMax: 1, features: 0 }, speaks: [1], codecs: [FrameCodec.none] },
  // Newer: speaks more, and sets bits that nobody knows here.
  { hello: { versionMin: 1, versionMax: 2, features: 0xffff_ffff }, speaks: [1, 2], codecs: ALL_CODECS },
  // Nothing in common.
  { hello: { versionMin: 2, versionMax: 3, features: 0xffff_ffff }, speaks: [2, 3], codecs: ALL_CODECS },
  { hello: { versionMin: 2, versionMax: 3, features: 0xffff_ffff }, speaks: [2, 3], codecs: ALL_CODECS },
];

const ROW = 0xe9522;
const CHANCE = 0.15;
const MEAN_MS = [400, 1200] as const;
const DOWN_MS = 300;
/** Until it is restarted on the right one: soon, or so late that queues overflow and peers have given up many times. */
const FOR_MS = [200, 800, 2500] as const;

/** Hosts that are restarted on other programs: by a row of numbers of its own. A planted run has them when it asks for them. */
export function withVersions(options: SwarmOptions, seed: number, isPlanted: boolean): SwarmOptions {
  const own = new Random(seed ^ ROW);
  // A journal at its hard limit that is opened again and again, while nobody agrees on retirement, writes more about itself than the checks of space allow (seed 510287).
  if (isPlanted || !own.chance(CHANCE) || options.space !== undefined) return options;
  const faults = new Map<Fault, number>([...options.faults, ['otherVersion', own.pick(MEAN_MS)]]);
  return { ...options, faults };
}

export const helloOf = ({ hello }: Program): Uint8Array => concat(encodeHello(hello, crc32c));

interface Greeted {
  onReady(agreement: Agreement): void;
  onFrame(header: FrameHeader, body: Uint8Array): void;
}

/**
 * Reads a connection as `@tidemark/link` does: the peer's hello first, nothing else before it, no second one; where both have no version in common the connection ends, and
 * whoever has called tries again. Here a frame that should not have been possible is a violation: by what programs can do, not by what they have said.
 */
export function greet(socket: SimSocket, host: SimHost, { onReady, onFrame }: Greeted): void {
  const { program } = host;
  const { peerName, peerProgram } = socket;
  const decoder = new FrameDecoder({ crc32c });
  let agreement: Agreement | undefined;
  const frame = (header: FrameHeader, body: Uint8Array): void => {
    if (!socket.isOpen) return;
    if ((agreement === undefined) !== (header.kind === FrameKind.hello)) throw new Violation('protocol', `${peerName} to ${host.name}: a frame of kind ${header.kind} ${agreement ? 'behind' : 'before'} the hello`);
    if (agreement !== undefined) {
      if (!program.codecs.includes(header.codec)) throw new Violation('protocol', `${peerName} sends codec ${header.codec} to ${host.name}, whose program does not know it`);
      return onFrame(header, body);
    }
    agreement = agree(program.hello, decodeHello(body));
    if (!program.speaks.some((version) => peerProgram.speaks.includes(version))) throw new Violation('protocol', `${host.name} goes on with ${peerName}: they have no version in common`);
    host.versionTroubles.delete(peerName);
    host.agreedDials.set(peerName, Math.max(socket.dialNumber, host.agreedDials.get(peerName) ?? 0));
    onReady(agreement);
  };
  socket.onData = (bytes) => {
    try {
      decoder.feed(bytes.slice(), frame);
    } catch (error) {
      if (!(error instanceof ProtocolError) || error.code !== 'PROTOCOL_VERSION') throw error;
      // The hello of a process of before may come after that of its successor.
      if (socket.dialNumber > (host.agreedDials.get(peerName) ?? 0)) host.versionTroubles.set(peerName, error.message);
      socket.closed();
    }
  };
}

/** Restarts hosts on other programs for a while, and on their own one at the end. */
export class Versions {
  readonly #random: Random;
  count = 0;

  constructor(private readonly world: World, private readonly site: Site, private readonly crash: (host: SimHost) => void) {
    this.#random = new Random(world.seed ^ ROW ^ 0x5eed);
  }

  get #hosts(): readonly SimHost[] {
    return [...this.site.protecting, ...this.site.recovering];
  }

  restart(): void {
    const random = this.#random;
    const host = random.pick(this.#hosts);
    const program = random.pick(OTHER_PROGRAMS);
    const [downMs, forMs] = [random.below(DOWN_MS), random.pick(FOR_MS)];
    if (host.program !== OWN_PROGRAM) return;
    this.count += 1;
    this.#replace(host, program);
    this.world.after(downMs, () => host.start());
    this.world.after(downMs + forMs, () => this.#restore(host));
  }

  /** Nothing of what it had in memory goes from one program to the other. */
  #replace(host: SimHost, program: Program): void {
    this.crash(host);
    host.program = program;
  }

  #restore(host: SimHost): void {
    if (host.program === OWN_PROGRAM) return;
    this.#replace(host, OWN_PROGRAM);
    host.start();
  }

  makeWhole(): void {
    for (const host of this.#hosts) this.#restore(host);
  }

  /** When all is whole again. */
  static check(hosts: readonly SimHost[]): void {
    const byName = new Map(hosts.map((host) => [host.name, host]));
    for (const host of hosts) {
      const { name } = host;
      // Where the VPG is over nobody calls any more: what was said last stands.
      const troubles = [...host.versionTroubles].filter(([peer]) => host.calls(peer) || byName.get(peer)?.calls(name) === true);
      for (const [peer, why] of troubles) throw new Violation('stuck', `${name} cannot talk to ${peer} although both run the same program again: ${why}`);
    }
  }
}
