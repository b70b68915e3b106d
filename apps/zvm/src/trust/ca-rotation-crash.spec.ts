import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type * as TrustLibrary from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import * as real from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VraRecord } from '../vra/vra-model.js';
import type { CaRotation } from './ca-rotation.service.js';
import type { SiteTrust, TrustConfig } from './site-trust.js';

/**
 * A ZVM that dies before each change that a rotation makes in the trust folder, one after the other, among VRAs of its own and of a paired site. It comes back with what is on
 * disk. After every step of anybody all must believe what all others show.
 */
class Kill extends Error {}
/** Changes that the ZVM can make before it is killed. */
let changesLeft = Infinity;

jest.unstable_mockModule('node:fs/promises', () => ({
  ...real,
  // What a change of the trust folder takes effect by (file-set.spec.ts: a kill before or behind it leaves the old set or the new one).
  rename: async (from: string, to: string) => {
    changesLeft -= 1;
    if (changesLeft < 0) throw new Kill();
    await real.rename(from, to);
  },
  // A process that is killed, unlike a machine that loses its power, loses nothing that it has written: no disk has to be waited for.
  open: async (...args: Parameters<typeof real.open>) => Object.assign(await real.open(...args), { sync: () => Promise.resolve() }),
}));
jest.unstable_mockModule('./served-certificate.js', () => ({ servedByNats: () => Promise.resolve(world.natsShows), servedByTls: undefined, servedByPostgres: undefined }));

// Not by name: what is imported lazily anywhere may be imported statically nowhere (@nx/enforce-module-boundaries).
const library: string = '@tidemark/trust';
const { identityMarks, makeRequest, NatsAuthority, TrustBundle } = (await import(library)) as typeof TrustLibrary;
const { SiteTrust: Trust } = await import('./site-trust.js');
const { CaRotation: Rotation } = await import('./ca-rotation.service.js');

const SITE = 'aaaaaaaa-0000-4000-8000-000000000000';
let folder: string;
let config: TrustConfig;

const leafOf = (pem: string): X509Certificate => new X509Certificate(pem);

const known = new Map<string, boolean>();

/** Asked again and again for the same. */
function believes(caPem: readonly string[], shown: X509Certificate): boolean {
  const question = caPem.join('') + shown.fingerprint256;
  const answer = known.get(question) ?? new TrustBundle([{ siteId: SITE, caPem }]).identify(shown) !== undefined;
  known.set(question, answer);
  return answer;
}

/** What a VRA has on disk: its identity, and the sites that its last state names. */
class Vra {
  certificatePem = '';
  caPem: readonly string[] = [];
  sites: readonly TrustLibrary.TrustedSite[] = [];
  #marks: { readonly of: string; readonly marks: TrustLibrary.IdentityMarks } | undefined;

  constructor(readonly vraId: string) {}

  async renew(trust: SiteTrust): Promise<void> {
    if (this.certificatePem.endsWith(trust.ca.signerPem) && this.caPem === trust.ca.trustedPem) return;
    const { pem } = await makeRequest();
    this.certificatePem = (await trust.ca.issue(pem, { siteId: SITE, role: 'vra', instanceId: this.vraId }, [])).certificatePem;
    this.caPem = trust.ca.trustedPem;
  }

  takeState(trust: SiteTrust): void {
    this.sites = [{ siteId: SITE, caPem: trust.ca.trustedPem }];
    this.caPem = trust.ca.trustedPem;
  }

  get identity(): TrustLibrary.IdentityMarks {
    const { certificatePem, caPem } = this;
    const of = certificatePem + caPem.join('') + (this.sites[0]?.caPem.join('') ?? '');
    if (this.#marks?.of !== of) this.#marks = { of, marks: identityMarks({ keyPem: '', certificatePem, caPem, notBeforeMs: 0, notAfterMs: 0 }, SITE, this.sites) };
    return this.#marks.marks;
  }
}

class World {
  readonly vras = [new Vra('v1'), new Vra('v2')];
  /** Of the paired site: its ZVM has confirmed, its VRA has the bundle. */
  toldPem: readonly string[] = [];
  peerBelieves: readonly string[] = [];
  natsShows = undefined as unknown as X509Certificate;
  trust = undefined as unknown as SiteTrust;
  rotation = undefined as unknown as CaRotation;

  /** A ZVM of its own process on the same folder. */
  async startZvm(): Promise<void> {
    const trust = await Trust.open(config, Date.now);
    this.trust = trust;
    const records = this.vras.map(({ vraId }) => ({ vraId, name: vraId })) as VraRecord[];
    const vraLink = { status: (id: string) => this.vras.find(({ vraId }) => vraId === id), renewIdentity: () => Promise.resolve() };
    const vraStore = { isLoaded: true, assertLoaded: () => undefined, all: () => records };
    const peerStore = { isLoaded: true, all: () => [{ siteId: 'peer', name: 'peer', state: 'paired' }] };
    const poke = () => undefined;
    const others = [
      { look: () => trust.renewDue() }, vraStore, vraLink, { poke }, { isLoaded: true, all: () => [] }, {}, {}, peerStore, { poke, waitsFor: () => this.#peerLacks() },
      { record: () => Promise.resolve() }, { nowMs: Date.now }, { recordOwn: (_act: object, work: () => Promise<void>) => work() }, { ...config, databaseUrl: '', hypervisor: '' },
    ];
    this.rotation = Reflect.construct(Rotation, [trust, ...others]) as CaRotation;
  }

  #peerLacks(): string[] {
    const lacking = (has: readonly string[]): boolean => this.trust.ca.trustedPem.some((pem) => !has.includes(pem));
    return [...(lacking(this.toldPem) ? ['the peer'] : []), ...(lacking(this.peerBelieves) ? ["the peer's VRA"] : [])];
  }

  /** NATS takes its files up. */
  reloadNats(): void {
    this.natsShows = leafOf(this.trust.identities().get('nats')?.current().certificatePem ?? '');
  }

  /** Everybody who follows. */
  get followers(): (() => void | Promise<void>)[] {
    const [first, second] = this.vras as [Vra, Vra];
    return [
      // Its timer has it renewed before it is told: its identity knows the next CA, its data plane does not.
      () => first.renew(this.trust), () => first.takeState(this.trust), () => second.takeState(this.trust), () => (this.toldPem = this.trust.ca.trustedPem, undefined),
      () => (this.peerBelieves = this.toldPem, undefined), () => first.renew(this.trust), () => this.reloadNats(), () => second.renew(this.trust),
    ];  }

  async assertNobodyIsLockedOut(published: string): Promise<void> {
    const shownByVras = this.vras.map(({ certificatePem }) => leafOf(certificatePem));
    for (const vra of this.vras) {
      expect(believes(vra.caPem, this.natsShows)).toBe(true);
      for (const shown of shownByVras) expect(believes(vra.sites[0]?.caPem ?? [], shown)).toBe(true);
    }
    for (const shown of shownByVras) expect([believes(this.peerBelieves, shown), believes(this.trust.ca.trustedPem, shown)]).toEqual([true, true]);
    expect(believes(this.toldPem, this.natsShows)).toBe(true);
    expect(believes(this.trust.zvm.current().caPem, this.natsShows)).toBe(true);
    expect(believes([published], leafOf(this.trust.zvm.current().certificatePem))).toBe(true);
  }
}

let world: World;
let kills = 0;

beforeAll(async () => {
  folder = await real.mkdtemp(join(tmpdir(), 'zvm-rotation-crash-'));
  config = { siteId: SITE, siteName: 'A', stateDir: join(folder, 'zvm'), address: '127.0.1.1', restHost: '0.0.0.0', natsUrl: 'tls://127.0.1.9:4222', natsPeerPort: 9081, natsPidFile: undefined };
  Logger.overrideLogger(false);
  world = new World();
  await world.startZvm();
  // No part of a rotation, and most of the time that a start takes.
  const { nats } = world.trust;
  jest.spyOn(nats, 'serverConfiguration').mockReturnValue('');
  jest.spyOn(nats, 'user').mockResolvedValue('jwt');
  jest.spyOn(NatsAuthority, 'openOrMake').mockResolvedValue(nats);
  for (const vra of world.vras) {
    await vra.renew(world.trust);
    vra.takeState(world.trust);
  }
  world.toldPem = world.peerBelieves = world.trust.ca.trustedPem;
  world.reloadNats();
});
afterAll(() => real.rm(folder, { recursive: true }));

/** What the ZVM does; killed, it comes back. */
async function zvmDoes(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Kill)) throw error;
    kills += 1;
    changesLeft = Infinity;
    await world.startZvm();
  }
  await world.assertNobodyIsLockedOut(await real.readFile(join(config.stateDir, 'trust', 'ca.pem'), 'utf8'));
}

/** `changesUntilKill`: of each of its three steps. */
async function rotate({ changesUntilKill = Infinity, isZvmEager = false, order = [...world.followers.keys()] }: { changesUntilKill?: number; isZvmEager?: boolean; order?: number[] }): Promise<void> {
  const before = world.trust.ca.newestPem;
  changesLeft = changesUntilKill;
  await zvmDoes(() => world.rotation.begin());
  // Dead before anything was durable: whoever asked has heard nothing and asks again.
  if (world.trust.phase === 'steady') await zvmDoes(() => world.rotation.begin());
  for (let [turn, phase] = [0, '']; world.trust.phase !== 'steady'; turn += 1) {
    if (turn > 20) throw new Error(`it stands still while ${world.trust.phase}, waiting for ${world.rotation.waitsFor.join(', ')}`);
    for (const at of order) {
      await world.followers[at]?.();
      if (isZvmEager) await zvmDoes(() => world.rotation.look());
    }
    changesLeft = phase === world.trust.phase ? Infinity : changesUntilKill;
    phase = world.trust.phase;
    await zvmDoes(() => world.rotation.look());
  }
  changesLeft = Infinity;
  expect(world.trust.ca.newestPem).not.toBe(before);
  for (const follow of world.followers) await follow();
}

describe('a rotation of the CA', () => {
  it('waits for everybody at each step, whoever is the last', async () => {
    // The peer's VRA is the last to believe; a VRA whose identity has the next CA by its renewal, while its data plane was not told; the peer's ZVM.
    for (const order of [[0, 1, 2, 3, 4, 5, 6, 7], [0, 2, 3, 4, 7, 1, 6, 5], [7, 6, 5, 4, 2, 1, 0, 3]]) await rotate({ order, isZvmEager: true });
  }, 120_000);

  it('whose ZVM is killed before any change of its files goes on to its end, nobody is locked out meanwhile, and the old key is gone', async () => {
    for (let changes = 0, killsBefore = -1; killsBefore < kills; changes += 1) {
      killsBefore = kills;
      await rotate({ changesUntilKill: changes });
    }
    // Three steps, each of four changes: the CA's files, the copy for others, the ZVM's and the broker's own.
    expect(kills).toBe(12);
    expect(await real.readdir(join(config.stateDir, 'trust', 'ca'))).toHaveLength(2);
  }, 120_000);
});
