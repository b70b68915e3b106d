import { ActivityWorld, BLOCKS } from './activity-world.js';

type Step = readonly [what: string, act: (world: ActivityWorld) => void];

export interface ActivityStory {
  readonly name: string;
  readonly steps: readonly Step[];
}

/** A guest's write in block `block` gets its number as value, so that each is told from each. */
let value = 0;
const next = (): number => (value = (value % 250) + 1);

const write = (block: number): Step => [`write ${String(block)}`, (world) => world.write(block, next())];
const slowWrite = (block: number): Step => [`write ${String(block)}, slowly`, (world) => world.write(block, next(), { isSlow: true })];
const persist: Step = ['marks are on their way', (world) => world.persist()];
const finish: Step = ['what was on its way is durable', (world) => world.finish()];
const tick: Step = ['tick', (world) => world.tick()];
const send: Step = ['send', (world) => world.send()];
const sendQueued: Step = ['send what is queued', (world) => world.sendQueued()];
const deliver: Step = ['deliver, ack', (world) => world.deliver()];
const open: Step = ['open', (world) => world.open({ isAnswerLost: false })];

/** mark → write → ack: the recovery site holds it. */
const through = (block: number): Step[] => [write(block), persist, finish, send, deliver];
/** Until a round has begun that may clear what was not written for a period: it waits for its fence. */
const roundBegins: Step[] = [tick, tick, tick, tick];

/**
 * Each begins with a log that is trusted and empty, both ends alike. A crash may fall between any two steps ({@link brokenBy}). Blocks 0 and 1 share an
 * extent, so do 2 and 3, and 4 and 5.
 */
export const ACTIVITY_STORIES: readonly ActivityStory[] = [
  { name: 'mark, write, ack, clear', steps: [...through(0), ...roundBegins, tick, finish, tick, persist, finish, write(0), persist, finish, send, deliver] },
  { name: 'a write into the extent while its round goes on', steps: [...through(0), ...roundBegins, tick, write(1), finish, tick, persist, finish] },
  { name: 'a round whose writes are not acknowledged yet', steps: [write(0), persist, finish, ...roundBegins, tick, finish, tick, persist, finish, send, deliver, tick, persist, finish] },
  {
    name: 'a write that takes longer than a period',
    steps: [...through(0), slowWrite(0), ...roundBegins, tick, tick, finish, tick, tick, finish, tick, persist, finish, ['the slow write ends', (world) => world.endSlowWrites()], persist, finish],
  },
  {
    name: 'the queue is dropped while a round waits for its ack',
    steps: [write(0), persist, finish, ...roundBegins, tick, finish, ['the queue is dropped', (world) => world.dropQueue()], open, finish, sendQueued, deliver, tick, persist, finish, send, deliver],
  },
  {
    name: 'the queue is dropped when a round would be over but for its ack',
    steps: [write(0), persist, finish, ...roundBegins, tick, finish, tick, persist, finish, ['the queue is dropped', (world) => world.dropQueue()], open, finish, sendQueued, deliver, send, deliver],
  },
  { name: 'marks are on their way while the round clears one of them', steps: [...through(0), ...roundBegins, tick, finish, write(2), persist, tick, finish, write(1), persist, finish] },
  {
    name: 'another process was there, and the first answer to this one got lost',
    steps: [...through(2), ['another capture process', (world) => world.usurp()], ['open, answer lost', (world) => world.open({ isAnswerLost: true })], open, send, deliver],
  },
];

const blocksOf = (blocks: ReadonlyMap<number, number>): string => Array.from({ length: BLOCKS }, (_, block) => blocks.get(block) ?? 0).join(' ');

/** Where the story leaves the two ends different: after which step the process ended, and how. Undefined: nowhere. */
export function brokenBy({ steps }: ActivityStory): string | undefined {
  for (let count = 0; count <= steps.length; count += 1) {
    for (const isPowerLost of [false, true]) {
      for (const isDone of [false, true]) {
        const world = new ActivityWorld();
        for (let block = 0; block < BLOCKS; block += 1) world.write(block, next());
        world.settle({ untilTrusted: true });
        for (const [, act] of steps.slice(0, count)) act(world);
        world.crash({ isPowerLost, isDone });
        const held = blocksOf(world.settle());
        const expected = blocksOf(world.cache);
        if (held === expected) continue;
        const end = `${isPowerLost ? 'power lost' : 'killed'}, what was on its way ${isDone ? 'got there' : 'did not'}`;
        return `after ${String(count)} steps (${steps[count - 1]?.[0] ?? 'none'}; ${end}) the recovery site holds ${held}, the protected volume ${expected}`;
      }
    }
  }
  return undefined;
}
