import { describe, expect, it } from '@jest/globals';
import { DONE, VRA_COMMANDS } from '@tidemark/contracts';
import { gzipSync } from 'node:zlib';
import { readAnswer } from './read-answer.js';

const INSERTED = VRA_COMMANDS['checkpoint.insert'].answer;
const bytesOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const read = async (value: unknown): Promise<unknown> => await readAnswer(bytesOf(value), INSERTED, 'the answer');

describe('an answer', () => {
  it('is taken in the form that the question has one of, without what else came along', async () => {
    expect(await read({ isOk: true, result: { checkpointId: 4, more: 'x' }, also: 1 })).toEqual({ checkpointId: 4 });
  });

  it.each([
    ['nothing', null], ['a list', []], ['a text', 'ok'], ['no reply', { result: { checkpointId: 4 } }], ['another result', { isOk: true, result: { checkpointId: '4' } }], ['no result', { isOk: true }], ['nothing as a result', { isOk: true, result: null }],
    ['a refusal without a code', { isOk: false, message: 'no' }], ['a refusal whose code is a tale', { isOk: false, code: 'x'.repeat(200), message: 'no' }], ['a refusal that is a number', { isOk: false, code: 'VRA_CONFLICT', message: 5 }],
    ['a truth that is none', { isOk: 'false', code: 'VRA_CONFLICT', message: 'no' }],
  ])('is refused when it is %s', async (_what, value) => {
    await expect(read(value)).rejects.toMatchObject({ code: 'CONTROL_INVALID', remoteCode: null, isRetryable: false, message: expect.stringContaining('the answer') as unknown });
  });

  it('is refused when it is no JSON', async () => {
    await expect(readAnswer(Buffer.from('{'), INSERTED, 'the answer')).rejects.toMatchObject({ code: 'CONTROL_INVALID' });
  });

  it('that is a refusal has a reason that can be stored and shown, of a bounded length', async () => {
    await expect(read({ isOk: false, code: 'VRA_CONFLICT', message: `a\0b\u001b[2J${'x'.repeat(1e6)}` })).rejects.toMatchObject({ code: 'CONTROL_REFUSED', remoteCode: 'VRA_CONFLICT', message: expect.stringMatching(/^a\\u\{0\}b\\u\{1b\}\[2Jx{3000,4000}$/) as unknown });
  });

  it('that says only that it was done is looked into no further', async () => {
    expect(await readAnswer(bytesOf({ isOk: true, result: { big: Array(1000).fill('x') } }), DONE, 'the answer')).toEqual({});
  });

  it('that would become 80 MiB is refused unread, however many come at once, and the next one is read', async () => {
    const bomb = gzipSync(Buffer.alloc(80 * 1024 * 1024, 0x20), { level: 1 });
    const outcomes = await Promise.all(Array.from({ length: 6 }, () => readAnswer(bomb, INSERTED, 'the answer').catch((error: unknown) => (error as { code?: unknown }).code)));
    expect(outcomes).toEqual(Array(6).fill('CONTROL_INVALID'));
    expect(await readAnswer(gzipSync(bytesOf({ isOk: true, result: { checkpointId: 5 } })), INSERTED, 'the answer')).toEqual({ checkpointId: 5 });
  });
});
