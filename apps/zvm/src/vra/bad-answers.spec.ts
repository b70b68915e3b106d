import { describe, expect, it } from '@jest/globals';
import { type ControlBus, ControlError, readAnswer } from '@tidemark/nest';
import type { Answer } from '@tidemark/contracts';
import { Logger } from '@nestjs/common';
import { Clock } from '../clock.js';
import type { ZvmConfig } from '../config.js';
import { restErrorOf } from '../http/rest-errors.js';
import { VbaLinkService } from '../vba/vba-link.service.js';
import { VraLinkService } from './vra-link.service.js';

const SITE = { siteId: '7c9e6679-7425-40de-944b-e07fc1f90ae7' } as ZvmConfig;
const VPG = { vpgId: SITE.siteId, vmId: 'vm' };
Logger.overrideLogger(false);

/** A broker at which everybody answers this to everything. */
const answering = (reply: object): ControlBus => ({
  request: async (subject: string, _message: unknown, answer: Answer<object>) => await readAnswer(Buffer.from(JSON.stringify(reply)), answer, subject),
}) as unknown as ControlBus;

const NONSENSE = { isOk: true, result: { held: [null], disks: 'x', fingerprints: [5], checkpointId: '4', state: 'read' } };

describe('an appliance that answers commands with something else', () => {
  it.each([
    ['checkpoint.list', (link: VraLinkService) => link.listCheckpoints('7', VPG, {})], ['checkpoint.disks', (link: VraLinkService) => link.checkpointDisks('7', VPG, 4)],
    ['protection.settle', (link: VraLinkService) => link.settle('7', { ...VPG, epoch: 1 }, 4)],
    ['checkpoint.insert', (link: VraLinkService) => link.insertCheckpoint('7', { vpgId: VPG.vpgId, epoch: 1, tag: 't', isApplicationConsistent: false })],
  ])('a VRA: %s is refused with a code, and it is named', async (topic, ask) => {
    const link = new VraLinkService(answering(NONSENSE), SITE, new Clock());
    expect(link.problemWith('7')).toBeUndefined();
    const error: unknown = await ask(link).then(() => undefined, (thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'ZVM_BAD_ANSWER', isRetryable: false, message: expect.stringContaining(`VRA 7 answers ${topic} with what is no answer`) as unknown });
    expect(restErrorOf(error)).toMatchObject({ status: 502, isInternal: false });
    expect([link.problemWith('7'), link.problemWith('8')]).toEqual([expect.stringContaining(`answers ${topic} with what is no answer`), undefined]);
    link.forget('7');
    expect(link.problemWith('7')).toBeUndefined();
  });

  it('a VBA: its verification is refused with a code, and it is named', async () => {
    const link = new VbaLinkService(answering(NONSENSE), SITE, new Clock());
    await expect(link.verification('3', SITE.siteId)).rejects.toMatchObject({ code: 'ZVM_BAD_ANSWER', message: expect.stringContaining('VBA 3 answers verification.get') as unknown });
    expect(link.problemWith('3')).toContain('answers verification.get');
  });

  it('a command that was done needs no answer but that', async () => {
    const link = new VraLinkService(answering({ isOk: true, result: 'whatever' }), SITE, new Clock());
    await link.closeView('7', { viewId: SITE.siteId, epoch: 1 });
    expect(link.problemWith('7')).toBeUndefined();
  });

  it('a refusal of its stays one, with its own code', async () => {
    const link = new VraLinkService(answering({ isOk: false, code: 'VRA_NOT_SETTLED', message: 'it has\0 written' }), SITE, new Clock());
    const error: unknown = await link.settle('7', { ...VPG, epoch: 1 }, 4).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ControlError);
    expect(error).toMatchObject({ code: 'CONTROL_REFUSED', remoteCode: 'VRA_NOT_SETTLED', message: 'it has\\u{0} written' });
    expect(link.problemWith('7')).toBeUndefined();
  });
});
