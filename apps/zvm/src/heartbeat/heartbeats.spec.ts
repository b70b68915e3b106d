import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ControlBus } from '@tidemark/nest';
import type { Clock } from '../clock.js';
import { Heartbeats } from './heartbeats.js';

interface Word {
  readonly id: string;
}

const isWord = (value: unknown): value is Word => typeof value === 'object' && value !== null && 'id' in value;

describe('heartbeats of appliances', () => {
  let nowMs: number;
  let heard: string[];
  let heartbeats: Heartbeats<Word>;
  /** As the bus does it: asks first, reads then. */
  let send: (id: string, value: unknown, sizeBytes?: number) => void;
  beforeEach(() => {
    nowMs = 0;
    heard = [];
    heartbeats = new Heartbeats({ monotonicMs: () => nowMs } as Clock, { role: 'vra', siteId: 's', isStatus: isWord, idOf: ({ id }) => id });
    const bus = {
      listen: (_subject: string, handle: (value: unknown, subject: string) => void, isWelcome: (subject: string, sizeBytes: number) => boolean) => {
        send = (id, value, sizeBytes = 500) => {
          const subject = `tidemark.v1.s.vra.${id}.event.status.published`;
          if (isWelcome(subject, sizeBytes)) handle(value, subject);
        };
      },
    } as unknown as ControlBus;
    heartbeats.listen(bus, ({ id }) => heard.push(id));
  });

  it('count for who sent them, and for nobody that they merely name', () => {
    send('7', { id: '7' });
    send('8', { id: '9' });
    expect([heard, heartbeats.isAlive('7'), heartbeats.isAlive('8'), heartbeats.isAlive('9')]).toEqual([['7'], true, false, false]);
  });

  it('that are none leave the last good one as it was, until that is too old, and their sender is told of', () => {
    send('7', { id: '7' });
    for (nowMs = 1000; nowMs < 8000; nowMs += 1000) send('7', { nonsense: 1 });
    expect([heartbeats.isAlive('7'), heartbeats.last('7')?.status]).toEqual([false, { id: '7' }]);
    expect(heartbeats.problemWith('7')).toContain('do not have the form of one');
    expect(heartbeats.problemWith('8')).toBeUndefined();
    nowMs += 61_000;
    expect(heartbeats.problemWith('7')).toBeUndefined();
  });

  it('that come too fast are not read, at whatever size: at most ten and 4 MiB a second of each sender, and a flood is told of', () => {
    let [count, bytes] = [0, 0];
    const take = (sizeBytes: number): void => {
      const before = heard.length;
      send('7', { id: '7' }, sizeBytes);
      count += heard.length - before;
      bytes += sizeBytes * (heard.length - before);
    };
    for (; nowMs < 10_000; nowMs += 1) take(500);
    expect(count).toBe(100);
    expect(heartbeats.problemWith('7')).toContain('far more heartbeats');
    bytes = 0;
    for (; nowMs < 20_000; nowMs += 1) take(3 << 20);
    expect(bytes).toBeLessThanOrEqual(11 * (4 << 20));
    send('8', { id: '8' });
    expect(heard.at(-1)).toBe('8');
  });

  it('that come together after a pause of this process are nobody\'s fault', () => {
    for (let late = 0; late < 20; late += 1) send('7', { id: '7' });
    expect([heard, heartbeats.problemWith('7')]).toEqual([['7'], undefined]);
  });
});
