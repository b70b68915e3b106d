import { describe, expect, it } from '@jest/globals';
import { inboxNameOf, renewalTopic, speakerOn, subjectOf } from './subjects.js';

const SITE = 'aaaaaaaa-0000-4000-8000-000000000000';
const PEER = 'bbbbbbbb-0000-4000-8000-000000000000';

describe('who speaks on a subject', () => {
  it.each([
    [subjectOf({ siteId: SITE, service: 'vra', instanceId: '7', channel: 'control', topic: 'state.apply' }), { kind: 'zvm' }, 'zvm-main'],
    [subjectOf({ siteId: SITE, service: 'zvm', instanceId: `peer-${PEER}`, channel: 'control', topic: 'vpg.put' }), { kind: 'peer', siteId: PEER }, `peer-${PEER}`],
    [subjectOf({ siteId: SITE, service: 'zvm', instanceId: 'pairing-t1', channel: 'control', topic: 'pairing.redeem' }), { kind: 'pairing', tokenId: 't1' }, 'pairing-t1'],
    [subjectOf({ siteId: SITE, service: 'zvm', instanceId: 'main', channel: 'control', topic: renewalTopic('vra', '7') }), { kind: 'vra', vraId: '7' }, 'vra-7'],
    [subjectOf({ siteId: SITE, service: 'zvm', instanceId: 'main', channel: 'control', topic: renewalTopic('vba', '7') }), { kind: 'vba', vbaId: '7' }, 'vba-7'],
    [subjectOf({ siteId: SITE, service: 'vba', instanceId: '7', channel: 'control', topic: 'verification.start' }), { kind: 'zvm' }, 'zvm-main'],
  ])('%s', (subject, speaker, inbox) => {
    const found = speakerOn(subject);
    expect(found).toEqual(speaker);
    expect(found && inboxNameOf(found)).toBe(inbox);
  });

  it.each(['question', `tidemark.v2.${SITE}.vra.7.control.a.b`, `tidemark.v1.${SITE}.zvm.main.control.trust.renew`, `tidemark.v1.${SITE}.zvm.main.control.trust.renew.7`, `tidemark.v1.${SITE}.zvm.main.control.trust.renew.zvm.7`, `tidemark.v1.${SITE}.zvm.main.control.vpg.put`, `tidemark.v1.${SITE}.zcm.peer-x.control.a.b`])(
    'nobody on %s', (subject) => expect(speakerOn(subject)).toBeUndefined());
});
