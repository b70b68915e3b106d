import { expect, it } from '@jest/globals';
import * as contracts from '@tidemark/contracts';
import { answerMessage, readAnswer } from '@tidemark/nest';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../sim/random.js';
import { fuzzedAnswers } from './answer-targets.js';
import { fuzzedEvents } from './event-targets.js';
import { fuzzedMessages } from './message-targets.js';
import { execute, type Finding, type FuzzTarget } from './target.js';
import { TARGETS } from './targets.js';

/** The same seeds in every gate; `npm run fuzz` goes on from there. */
const FIRST_SEED = 1;

async function findingsOf(target: FuzzTarget, count: number): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + count && findings.length < 3; seed += 1) {
    const finding = await execute(target, seed, (from) => new Random(from));
    if (finding) findings.push(finding);
  }
  return findings;
}

it.each(TARGETS.map((target) => [target.name, target] as const))('%s holds against what peers and disks may say', async (_, target) => {
  expect(await findingsOf(target, target.gateCount)).toEqual([]);
}, 60_000);

/** Classes of a message and of all that it holds. */
function typesIn(value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  const types = [];
  for (let type: unknown = value.constructor; typeof type === 'function' && type !== Function.prototype; type = Object.getPrototypeOf(type)) types.push(type);
  return [...types, ...Object.values(value).flatMap(typesIn)];
}

/** A type that somebody answers, or checks an answer with, is a class of the contracts: each one is here, or part of one that is. Samples that are refused as they are would test nothing behind the refusal. */
it('every type of message is among those that are damaged, with one that is good', async () => {
  const found = new Set<unknown>();
  const refused: string[] = [];
  for (const [type, sample] of fuzzedMessages) {
    const reply = await answerMessage(type, Buffer.from(JSON.stringify(sample)), (message) => {
      for (const each of typesIn(message)) found.add(each);
    });
    if (!reply.isOk) refused.push(`${type.name}: ${reply.message}`);
  }
  expect(refused).toEqual([]);
  const types = Object.entries(contracts).filter(([name, value]) => /V1$/.test(name) && typeof value === 'function');
  expect(types.length).toBeGreaterThan(60);
  expect(types.filter(([, type]) => !found.has(type)).map(([name]) => name)).toEqual([]);
});

const SOURCES = ['apps/zvm/src', 'apps/vra/src', 'apps/vba/src', 'libs/nest/src/appliance', 'libs/nest/src/trust'];
const sources = SOURCES.flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts') && !name.includes('spec') && !name.includes('testing')).map((name) => readFileSync(join(folder, name), 'utf8')));

it('every event that somebody listens to has a check, which is among the damaged ones, and no request is answered by another type', () => {
  for (const [check, sample] of fuzzedEvents.values()) expect(check(JSON.parse(JSON.stringify(sample)))).toBe(true);
  expect(Object.keys(contracts).filter((name) => /^is[A-Z]\w*(Status|News)$/.test(name) && !fuzzedEvents.has(name))).toEqual([]);
  const text = sources.join('\n');
  // The ZVM's own two: heartbeats (of VRAs and VBAs, each by its check) and news of peers.
  expect(text.match(/\bbus\.listen</g)).toHaveLength(2);
  const answered = [...text.matchAll(/\.respond(?:<[^>]*>)?\([^\n]*?, (\w+V1),/g)].map(([, name]) => name ?? '');
  expect(answered.length).toBeGreaterThan(4);
  expect(answered.filter((name) => ![...fuzzedMessages.keys()].some((type) => type.name === name))).toEqual([]);
});

const replyOf = (result: unknown): Buffer => Buffer.from(JSON.stringify({ isOk: true, result }));

it('every answer that somebody asks for is among those that are damaged, with one that is good, and comes without what nobody asked for', async () => {
  for (const [question, { answer, sample }] of fuzzedAnswers) {
    if (sample === undefined) throw new Error(`no good answer to ${question}`);
    expect(await readAnswer(replyOf({ ...sample, more: [1] }), answer, question)).toEqual(sample);
  }
  expect([...fuzzedAnswers].filter(([, { answer }]) => answer !== contracts.DONE)).toHaveLength(14);
  // Nobody asks past those tables: whoever asks names the answer, and each of the four is looked up in one.
  const asked = [...sources.join('\n').matchAll(/\bbus\.request\(([^\n]*)/g)].map(([, text]) => text ?? '');
  expect(asked).toHaveLength(5);
  expect(asked.filter((text) => !/ answer as Answer<|VBA_COMMANDS\[topic\]\.answer|PEER_ANSWERS\[|IDENTITY_GRANT/.test(text))).toEqual([]);
});

/** A copy of it for every value in it, with another one there. */
function* damagedOnes(value: unknown, odd: unknown): Generator {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, each] of Object.entries(value)) {
    for (const other of [odd, ...damagedOnes(each, odd)]) yield Array.isArray(value) ? value.map((item: unknown, index) => (String(index) === key ? other : item)) : { ...value, [key]: other };
  }
}

it('an answer is refused for every single value in it that is something else', async () => {
  const taken: string[] = [];
  for (const [question, { answer, sample }] of fuzzedAnswers) {
    for (const odd of [[[]], '\0', 'x'.repeat(17_000)]) {
      for (const damaged of damagedOnes(sample, odd)) {
        const isTaken = await readAnswer(replyOf(damaged), answer, question).then(() => true, () => false);
        if (isTaken) taken.push(`${question}: ${JSON.stringify(damaged).slice(0, 300)}`);
      }
    }
  }
  expect(taken).toEqual([]);
});

it('a decoder that fails, believes a length, or takes too much is found', async () => {
  const broken = (run: FuzzTarget['run']): FuzzTarget => ({ name: 'broken', gateCount: 1, run });
  const found = async (run: FuzzTarget['run']): Promise<string | undefined> => (await findingsOf(broken(run), 1))[0]?.what;
  expect(await found(() => { throw new RangeError('offset out of bounds'); })).toContain('out of bounds');
  let kept: Uint8Array | undefined;
  const allocate = async (): Promise<string | undefined> => await found(() => { kept = new Uint8Array(64 << 20); });
  // Garbage of the targets before may be collected in between, once.
  expect((await allocate()) ?? (await allocate())).toContain('allocated');
  expect(kept?.length).toBe(64 << 20);
});
