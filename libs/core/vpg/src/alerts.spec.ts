import { describe, expect, it } from '@jest/globals';
import { alertChanges, alertsFor, lossAlertsFor, rpoLevel, type LossFacts, type ActiveAlert, type AlertFacts } from './index.js';

type VpgAlertFacts = AlertFacts['vpgs'][number];

const vpg = (over: Partial<VpgAlertFacts> = {}): VpgAlertFacts => ({
  vpgId: 'v1', name: 'Shop', isReplicating: true, rpoMs: 7000, rpoTargetMs: 300_000, voidReason: null, isWaitingForCommit: false, untestedForMs: 0, wasTested: false, testIntervalMs: 0, ...over,
});
const facts = (over: Partial<AlertFacts> = {}): AlertFacts => ({ vpgs: [vpg()], peers: [], vras: [], vbas: [], fences: [], brokerProblem: null, ...over });
const idsOf = (given: AlertFacts): string[] => alertsFor(given).map(({ helpIdentifier }) => helpIdentifier);

describe('a VPG that another site owns', () => {
  const fence = { vpgId: 'v1', vpgName: 'Shop', ownerSiteName: 'B', epoch: 2, isLifted: false, liftedBy: null, isDenied: false };

  it('says that its VMs here are fenced, and after a forced claim that both sites may run them', () => {
    expect(alertsFor(facts({ fences: [fence] }))).toMatchObject([{ helpIdentifier: 'TDM0020', level: 'Error', subject: 'v1', description: expect.stringMatching(/fenced.*site B owns them.*epoch 2/) as unknown }]);
    expect(alertsFor(facts({ fences: [{ ...fence, isDenied: true }] }))).toMatchObject([{ helpIdentifier: 'TDM0020', description: expect.stringMatching(/its site manager knows of no failover.*taken over, and tidemark claim --force.*older than the failover/) as unknown }]);
    expect(alertsFor(facts({ fences: [{ ...fence, isLifted: true, liftedBy: 'eve' }] }))).toMatchObject([{ helpIdentifier: 'TDM0021', description: expect.stringMatching(/'eve' has claimed.*power them off at one/) as unknown }]);
  });
});

describe('RPO ladder', () => {
  it.each([
    [300_000, 'fine'], [344_999, 'fine'], [345_000, 'warning'], [374_999, 'warning'], [375_000, 'error'], [9_000_000, 'error'],
  ])('%d ms against a target of 300 s: %s', (rpoMs, level) => {
    expect(rpoLevel(rpoMs, 300_000)).toBe(level);
  });

  it('gives one alert, by level', () => {
    expect(idsOf(facts({ vpgs: [vpg({ rpoMs: 350_000 })] }))).toEqual(['VPG0009']);
    expect(alertsFor(facts({ vpgs: [vpg({ rpoMs: 400_000 })] }))).toEqual([{
      helpIdentifier: 'VPG0010', level: 'Error', entity: 'Vpg', subject: 'v1', vpgIds: ['v1'],
      description: "RPO of VPG 'Shop' is 400 s, 33 % above its target of 300 s",
    }]);
  });

  it('says why no checkpoint comes, and nothing of that while the RPO is kept', () => {
    const voidReason = "no answer of VRA 'Z-VRA-h2'";
    expect(alertsFor(facts({ vpgs: [vpg({ rpoMs: 400_000, voidReason })] }))[0]?.description).toMatch(/target of 300 s\. The newest checkpoint was given up: no answer of VRA 'Z-VRA-h2'\. Look at the log/);
    expect(idsOf(facts({ vpgs: [vpg({ voidReason })] }))).toEqual([]);
  });

  it('is silent when the VPG does not replicate, or the RPO is not known', () => {
    expect(idsOf(facts({ vpgs: [vpg({ rpoMs: 400_000, isReplicating: false })] }))).toEqual([]);
    expect(idsOf(facts({ vpgs: [vpg({ rpoMs: null })] }))).toEqual([]);
  });
});

describe('a VPG that is not tested in time', () => {
  const DAY_MS = 86_400_000;
  const untested = (untestedForMs: number, over: Partial<VpgAlertFacts> = {}) => alertsFor(facts({ vpgs: [vpg({ untestedForMs, testIntervalMs: 182 * DAY_MS, wasTested: true, ...over })] }));

  it('is warned of once its interval is over, whatever its RPO', () => {
    expect(untested(182 * DAY_MS)).toEqual([]);
    expect(untested(182 * DAY_MS + 1, { rpoMs: null })).toEqual([{
      helpIdentifier: 'VPG0050', level: 'Warning', entity: 'Vpg', subject: 'v1', vpgIds: ['v1'],
      description: "VPG 'Shop' had its last failover test more than 182 days ago: test it, or change its TestIntervalInMinutes (0: no reminder)",
    }]);
    expect(untested(DAY_MS, { wasTested: false, testIntervalMs: 3_600_000 })).toMatchObject([{ description: expect.stringContaining('was made and never tested more than an hour ago: test it') as unknown }]);
    expect(untested(DAY_MS, { testIntervalMs: 90 * 60_000 })).toMatchObject([{ description: expect.stringContaining('more than 90 minutes ago') as unknown }]);
  });

  it('is not while nobody wants to be reminded, nor while it does not replicate', () => {
    expect([...untested(900 * DAY_MS, { testIntervalMs: 0 }), ...untested(900 * DAY_MS, { isReplicating: false })]).toEqual([]);
  });
});

describe('a VBA', () => {
  const vba = { vbaId: '3', name: 'backup', isConnected: false, wasHeard: true, knownForMs: 0 };
  const HOUR_MS = 3_600_000;

  it('that has gone silent is told of, until it is heard again', () => {
    expect(alertsFor(facts({ vbas: [vba] }))).toMatchObject([{ helpIdentifier: 'BCK0006', level: 'Error', entity: 'Zvm', subject: '3', vpgIds: [], description: expect.stringMatching(/^VBA 'backup' does not answer.*vba-token/) as unknown }]);
    expect(alertsFor(facts({ vbas: [{ ...vba, isConnected: true }] }))).toEqual([]);
  });

  it('that was added a moment ago has the time of its token to be enrolled; one that was heard of before the ZVM started is older than that', () => {
    expect(alertsFor(facts({ vbas: [{ ...vba, wasHeard: false, knownForMs: HOUR_MS - 1 }] }))).toEqual([]);
    expect(idsOf(facts({ vbas: [{ ...vba, wasHeard: false, knownForMs: HOUR_MS }] }))).toEqual(['BCK0006']);
  });
});

describe('alertsFor', () => {
  it('tells of silent VRAs, silent sites and failovers that wait', () => {
    const all = facts({
      vpgs: [vpg({ isWaitingForCommit: true, isReplicating: false })],
      vras: [{ vraId: 'r1', name: 'Z-VRA-h1', isConnected: false, vpgIds: ['v1'] }, { vraId: 'r2', name: 'Z-VRA-h2', isConnected: true, vpgIds: [] }],
      peers: [{ siteId: 's2', name: 'Berlin', isConnected: false, problem: null, vpgIds: ['v1'] }, { siteId: 's3', name: 'Bonn', isConnected: true, problem: null, vpgIds: [] }],
    });
    expect(alertsFor(all).map(({ helpIdentifier, level, entity, subject }) => [helpIdentifier, level, entity, subject])).toEqual([
      ['VPG0014', 'Warning', 'Vpg', 'v1'], ['ZVM0002', 'Error', 'Vra', 'r1'], ['ZVM0003', 'Error', 'Zvm', 's2'],
    ]);
  });

  it('is empty when all is well', () => expect(alertsFor(facts())).toEqual([]));
});

describe('alertChanges', () => {
  const active = (helpIdentifier: string, subject: string, description = '', isDismissed = false): ActiveAlert => ({ alertId: `${helpIdentifier}-${subject}`, helpIdentifier, subject, description, isDismissed });

  it('turns on what is missing, off what is gone, rewords what has changed', () => {
    const wanted = alertsFor(facts({ vpgs: [vpg({ rpoMs: 350_000 }), vpg({ vpgId: 'v2', name: 'Mail', rpoMs: 400_000 })] }));
    const changes = alertChanges([active('VPG0010', 'v1'), active('VPG0010', 'v2', 'old text')], wanted);
    expect(changes.turnedOn.map(({ helpIdentifier, subject }) => [helpIdentifier, subject])).toEqual([['VPG0009', 'v1']]);
    expect(changes.turnedOff.map(({ alertId }) => alertId)).toEqual(['VPG0010-v1']);
    expect(changes.reworded.map(({ active: { alertId } }) => alertId)).toEqual(['VPG0010-v2']);
  });

  it('asks for nothing when it has been done', () => {
    const wanted = alertsFor(facts({ vpgs: [vpg({ rpoMs: 400_000 })] }));
    const done = wanted.map((one) => active(one.helpIdentifier, one.subject, one.description));
    expect(alertChanges(done, wanted)).toEqual({ turnedOn: [], turnedOff: [], reworded: [], repeated: [] });
  });

  it('leaves a latched alert on until somebody has dismissed it, and brings it back when it happens again', () => {
    const loss: LossFacts = { vpgId: 'v1', vpgName: 'Shop', vmId: 'm1', vmName: 'db', recoverySiteName: 'B', count: 1, atMs: 0, detail: 'durable up to 4, acknowledged 9' };
    const [wanted] = lossAlertsFor([loss]);
    expect(wanted).toMatchObject({ helpIdentifier: 'TDM0022', level: 'Error', subject: 'v1/m1', vpgIds: ['v1'] });
    expect(wanted?.description).toMatch(/^at 1970-01-01T00:00Z writes of 'db' in VPG 'Shop' that site B had acknowledged.*durable up to 4, acknowledged 9.*sent again.*datastore/);
    const [on, dismissed] = [false, true].map((isDismissed) => active('TDM0022', 'v1/m1', wanted?.description, isDismissed));
    const changes = (now: ActiveAlert | undefined, losses: readonly LossFacts[]): Record<string, number> => {
      const { turnedOn, turnedOff, reworded, repeated } = alertChanges(now ? [now] : [], lossAlertsFor(losses));
      return { turnedOn: turnedOn.length, turnedOff: turnedOff.length, reworded: reworded.length, repeated: repeated.length };
    };
    const none = { turnedOn: 0, turnedOff: 0, reworded: 0, repeated: 0 };
    expect(changes(undefined, [loss])).toEqual({ ...none, turnedOn: 1 });
    expect(changes(on, [])).toEqual(none); // the protecting VRA has been started anew and knows of nothing
    expect(changes(dismissed, [loss])).toEqual(none);
    expect(changes(dismissed, [])).toEqual({ ...none, turnedOff: 1 });
    expect(changes(dismissed, [{ ...loss, count: 2, atMs: 90_000 }])).toEqual({ ...none, repeated: 1 });
    expect(changes(on, [{ ...loss, atMs: 90_000 }])).toEqual({ ...none, repeated: 1 });
  });
});
