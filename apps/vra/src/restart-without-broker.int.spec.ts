import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type Answer, type DesiredStateV1, type IdentityGrantV1, IdentityRequestV1, isVraStatus, type RecoveryV1, subjectOf, type VraAddressV1, type VraAnswer, VRA_COMMANDS, type VraTopic } from '@tidemark/contracts';
import { ControlBus, vraRights } from '@tidemark/nest';
import { freePort, SecuredNats } from '@tidemark/nest/testing';
import { ComponentIdentity, credentials, fingerprint, LEAF_LIFETIME_MS, makeNatsKey, makeRequest } from '@tidemark/trust';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/** Two VRAs as processes of their own: the built program. What their ZVM would say to them is said by the test. */
const MIB = 1024 * 1024;
const [VPG, VM] = [randomUUID(), 'vm-1'];
const WAIT_MS = 90_000;
let folder: string;
let nats: SecuredNats;
let zvm: ControlBus;
let asZvm: ComponentIdentity;
let sender: Vra;
let receiver: Vra;

async function eventually<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  const deadline = Date.now() + WAIT_MS;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline) throw new Error(`not within ${WAIT_MS} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

class Vra {
  #process: ChildProcess | undefined;

  private constructor(
    readonly address: VraAddressV1,
    private readonly healthPort: number,
    private readonly backupPort: number,
  ) {}

  /** Enrolled already. */
  static async make(vraId: string): Promise<Vra> {
    const vra = new Vra({ vraId, address: '127.0.0.1', controlPort: await freePort(), dataPort: await freePort() }, await freePort(), await freePort());
    await mkdir(vra.folder, { mode: 0o700 });
    const [{ pem, keyPem }, user] = [await makeRequest(), makeNatsKey()];
    const { natsJwt, ...parts } = await grant(vraId, { certificateRequest: pem, natsPublicKey: user.publicKey });
    await ComponentIdentity.store(join(vra.folder, 'trust'), { ...parts, keyPem, natsCredentials: credentials(natsJwt, user.seed) });
    return vra;
  }

  get folder(): string {
    return join(folder, this.address.vraId);
  }

  start(): void {
    const environment = {
      TIDEMARK_SITE_ID: nats.siteId, TIDEMARK_VRA_ID: this.address.vraId, TIDEMARK_HOST_ID: 'h', TIDEMARK_ADDRESS: '127.0.0.1', TIDEMARK_NATS_URL: nats.url, TIDEMARK_STATE_DIR: this.folder,
      TIDEMARK_DATASTORES: folder, TIDEMARK_NBD_SOCKET: join(this.folder, 'nbd.sock'), TIDEMARK_CONTROL_PORT: String(this.address.controlPort), TIDEMARK_DATA_PORT: String(this.address.dataPort),
      TIDEMARK_HEALTH_PORT: String(this.healthPort), TIDEMARK_BACKUP_PORT: String(this.backupPort), TIDEMARK_MEMORY_MIB: '256',
    };
    this.#process = spawn(process.execPath, [join(import.meta.dirname, '../dist/main.js')], { stdio: 'ignore', env: { PATH: process.env['PATH'], ...environment } });
  }

  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async ask<Topic extends VraTopic>(topic: Topic, message: object): Promise<VraAnswer<Topic> | undefined> {
    const subject = subjectOf({ siteId: nats.siteId, service: 'vra', instanceId: this.address.vraId, channel: 'control', topic });
    return await zvm.request(subject, message, VRA_COMMANDS[topic].answer as Answer<VraAnswer<Topic>>, { timeoutMs: 3000 }).catch(() => undefined);
  }

  /** One number of its metrics, of all that have the name the last; undefined while 4006 does not answer. */
  async metric(name: string): Promise<number | undefined> {
    const { keyPem: key, certificatePem: cert } = asZvm.current();
    const shown = await new Promise<string>((resolve, reject) => {
      get({ host: '127.0.0.1', port: this.healthPort, path: '/metrics', agent: false, rejectUnauthorized: false, key, cert }, (response) => void text(response).then(resolve, reject)).on('error', reject);
    }).catch(() => '');
    const value = new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(shown)?.[1];
    return value === undefined ? undefined : Number(value);
  }
}

async function grant(vraId: string, { certificateRequest, natsPublicKey }: IdentityRequestV1): Promise<IdentityGrantV1> {
  const { certificatePem } = await nats.ca.issue(certificateRequest, { siteId: nats.siteId, role: 'vra', instanceId: vraId }, ['127.0.0.1']);
  return { certificatePem, caPem: nats.ca.trustedPem, natsJwt: await nats.authority.user(natsPublicKey, { ...vraRights(nats.siteId, vraId), notAfterMs: Date.now() + LEAF_LIFETIME_MS }) };
}

/** Who asks for metrics, with a certificate of the CA that signs now. */
async function becomeZvm(): Promise<void> {
  const { pem, keyPem } = await makeRequest();
  const { certificatePem } = await nats.ca.issue(pem, { siteId: nats.siteId, role: 'zvm', instanceId: 'main' }, []);
  asZvm = await ComponentIdentity.store(join(folder, 'zvm'), { keyPem, certificatePem, caPem: nats.ca.trustedPem });
}

const state = (vra: Vra, revision: number): DesiredStateV1 => ({
  revision, trust: { sites: [{ siteId: nats.siteId, caPem: [...nats.ca.trustedPem], voided: [] }] },
  ...(vra === receiver ? { attachedVms: [], protections: [], barriers: [] } : {
    attachedVms: [{ vmId: VM, disks: [{ diskId: 'd', exportName: VM, path: join(folder, 'disk.raw'), sizeBytes: MIB }] }],
    protections: [{ vpgId: VPG, vmId: VM, epoch: 1, diskIds: ['d'], volumeBytes: [MIB], recoveringVra: receiver.address, recoverySiteId: nats.siteId, isCompressed: false, priority: 'medium' }],
    barriers: [{ vpgId: VPG, version: 1, epoch: 1, intervalMs: 300, members: [{ vra: sender.address, vmIds: [VM] }] }],
  }),
});

const apply = async (revision: number): Promise<void> => {
  for (const vra of [receiver, sender]) await eventually(`state ${revision} is taken`, async () => await vra.ask('state.apply', state(vra, revision)));
};

/** Checkpoints go on to become durable at the other end: the position grows. */
const untilReplicating = async (): Promise<void> => {
  const from = await eventually('the journal is open', async () => await receiver.metric('tidemark_durable_seq'));
  await eventually('it grows', async () => ((await receiver.metric('tidemark_durable_seq')) ?? 0) > from);
  // Checkpoints come three times a second, and every age is more than nothing.
  await eventually('its RPO is published', async () => ((await receiver.metric('tidemark_rpo_ms_p50')) ?? 0) > 0);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vra-restart-'));
  await mkdir(join(folder, 'recovery'));
  await writeFile(join(folder, 'disk.raw'), '');
  await truncate(join(folder, 'disk.raw'), MIB);
  nats = await SecuredNats.start();
  zvm = new ControlBus({ url: nats.url, name: 'zvm', access: await nats.zvm() });
  zvm.respond(subjectOf({ siteId: nats.siteId, service: 'zvm', instanceId: 'main', channel: 'control', topic: 'trust.renew.vra.*' }), IdentityRequestV1, async (asked, subject) => await grant(subject.split('.').at(-1) ?? '', asked));
  await becomeZvm();
  [sender, receiver] = [await Vra.make('sender'), await Vra.make('receiver')];
}, 120_000);
afterAll(async () => {
  await sender?.kill();
  await receiver?.kill();
  await zvm?.close();
  await nats?.close();
  await rm(folder, { recursive: true, force: true });
});

describe('VRAs that are killed, and start while the broker is away', () => {
  it('replicate by what they were told last, and come back to a broker whose certificate is of the next CA', async () => {
    for (const vra of [sender, receiver]) vra.start();
    const recovery: RecoveryV1 = {
      vpgId: VPG, vmId: VM, protectedSiteId: nats.siteId, epoch: 1, recoverers: [{ vra: receiver.address, vmIds: [VM] }], volumes: [{ diskId: 'd', sizeBytes: MIB, mirrorPath: join(folder, 'recovery', 'mirror.raw') }],
      journalFolder: join(folder, 'recovery', 'journal'), datastore: { path: join(folder, 'recovery'), capacityBytes: 1024 * MIB }, historyMs: 3_600_000,
    };
    await eventually('the recovery is put', async () => await receiver.ask('recovery.put', recovery));
    await apply(1);
    await nats.ca.announceNext();
    await apply(2);
    await untilReplicating();

    await Promise.all([sender.kill(), receiver.kill(), nats.kill()]);
    await nats.ca.switchToNext();
    await nats.renewCertificate();
    for (const vra of [sender, receiver]) vra.start();
    await untilReplicating();
    expect(zvm.isConnected).toBe(false);

    await nats.start();
    const newest = fingerprint(nats.ca.newestPem);
    for (const vra of [sender, receiver]) {
      await eventually('it has a certificate of the next CA', async () => {
        const shown = (await vra.ask('status.get', {}))?.identity.signedBy;
        if (shown !== undefined && shown !== newest) await vra.ask('trust.renew', {});
        return shown === newest;
      });
    }
    await becomeZvm();
    await nats.ca.retireOld();
    await apply(3);
    await untilReplicating();
    const statuses = await Promise.all([sender, receiver].map((each) => each.ask('status.get', {})));
    expect(statuses[1]?.identity.trusts).toEqual([newest]);
    // What a ZVM would drop it would take for silence.
    expect(statuses.map((status) => [status?.protections.length, status?.recoveries.length, isVraStatus(status)])).toEqual([[1, 0, true], [0, 1, true]]);
  }, 300_000);
});
