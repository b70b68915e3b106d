import { afterEach, describe, expect, it, jest } from '@jest/globals';
import type { SendPriority } from '@tidemark/replication';
import { Outbound, type OutboundPeer, type OutboundStream } from './outbound.js';

const FRAME = 10_000;

afterEach(() => {
  jest.useRealTimers();
});

/** A link that takes one frame at a time. */
class Link implements OutboundPeer {
  hasRoom = true;
  readonly bytesPerSecond = Infinity;
}

/** Always has something to send. */
class Stream implements OutboundStream {
  sentBytes = 0;

  constructor(readonly peer: Link, public priority: SendPriority) {}

  sendNext(): number {
    this.sentBytes += FRAME;
    this.peer.hasRoom = false;
    return FRAME;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Each of these links, as often as it is named, gets room for a frame; pumps happen in between. */
async function drain(outbound: Outbound, links: readonly Link[], rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round += 1) {
    for (const link of links) {
      link.hasRoom = true;
      outbound.drained(link);
      await turn();
      await turn();
    }
  }
}

function streams(outbound: Outbound, link: Link, priorities: readonly SendPriority[]): Stream[] {
  return priorities.map((priority) => {
    const stream = new Stream(link, priority);
    outbound.work(stream, 0);
    return stream;
  });
}

const ratio = (one: Stream | undefined, other: Stream | undefined): number => (one?.sentBytes ?? 0) / (other?.sentBytes ?? 1);

describe('outbound', () => {
  it('divides a full link by the weights, however often it is full', async () => {
    const outbound = new Outbound();
    const link = new Link();
    const [high, medium, low] = streams(outbound, link, ['high', 'medium', 'low']);
    await drain(outbound, [link], 390);
    expect(ratio(high, low)).toBeCloseTo(9, 0);
    expect(ratio(medium, low)).toBeCloseTo(3, 0);
    outbound.close();
  });

  it('divides a slow link as before when a fast one takes far more of the same class', async () => {
    const outbound = new Outbound();
    const [slow, fast] = [new Link(), new Link()];
    const [high, low] = streams(outbound, slow, ['high', 'low']);
    streams(outbound, fast, ['high']);
    await drain(outbound, [slow, fast, fast, fast, fast, fast], 200);
    expect(ratio(high, low)).toBeCloseTo(9, 0);
    outbound.close();
  });

  it('goes by a new priority from the next frame on, and sends nothing for a stream that left', async () => {
    const outbound = new Outbound();
    const link = new Link();
    const [first, second] = streams(outbound, link, ['high', 'low']) as [Stream, Stream];
    first.priority = 'low';
    outbound.work(first, 0);
    await drain(outbound, [link], 40);
    expect(ratio(first, second)).toBeCloseTo(1, 0);
    outbound.remove(first);
    const before = first.sentBytes;
    await drain(outbound, [link], 10);
    expect(first.sentBytes).toBe(before);
    outbound.close();
  });

  it('sends what is urgent at once, and not with it what others gather; that leaves when its time is up or enough has come together', async () => {
    // On a slow machine the turns below take longer than the gathering.
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'performance', 'nextTick', 'queueMicrotask'] });
    const sent: string[] = [];
    const link: OutboundPeer = { hasRoom: true, bytesPerSecond: Infinity };
    const streamOf = (name: string): OutboundStream => ({ priority: 'medium', peer: link, sendNext: () => (sent.at(-1) === name ? 0 : sent.push(name)) });
    const [gathering, urgent, large] = ['gathering', 'urgent', 'large'].map(streamOf) as [OutboundStream, OutboundStream, OutboundStream];
    const outbound = new Outbound(64 * 1024);
    outbound.work(gathering, 4096);
    outbound.work(urgent, 0);
    await turn();
    await turn();
    expect(sent).toEqual(['urgent']);
    jest.advanceTimersByTime(60);
    await turn();
    await turn();
    expect(sent).toEqual(['urgent', 'gathering']);
    outbound.work(large, 64 * 1024);
    await turn();
    await turn();
    expect(sent).toEqual(['urgent', 'gathering', 'large']);
    outbound.work(gathering, 4096);
    outbound.remove(gathering);
    jest.advanceTimersByTime(60);
    await turn();
    await turn();
    expect(sent).toHaveLength(3);
    outbound.close();
  });
});
