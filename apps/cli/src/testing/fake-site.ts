import type {
  CaRotationApi, CertificateApi, CheckpointApi, HostNativeApi, RestCertificateApi, SiteCertificatesApi, TaskApi, VpgApi, VraChangeRecoveryHostRecommendationRequestApi,
  VraChangeRecoveryHostRecommendationResultApi,
} from '@tidemark/contracts';
import { type ApiReply, type ApiRequest, type ApiServer, startApiServer } from '@tidemark/api-client/testing';

const link = { href: '' };
const SITES = [{ SiteIdentifier: 'site-a', VirtualizationSiteName: 'Aachen' }, { SiteIdentifier: 'site-b', VirtualizationSiteName: 'Berlin' }];
const HOSTS: readonly HostNativeApi[] = ['1', '2'].map((n) => ({
  HostIdentifier: `host-${n}`, VirtualizationHostName: `host-b${n}`, AssociatedDatastores: [{ DatastoreName: `ds-b${n}`, DatastoreIdentifier: `ds-${n}` }],
  AssociatedNetworks: [{ VirtualizationNetworkName: 'lan', NetworkIdentifier: 'net-1' }],
}));
const VMS = [['vm-1', 'web'], ['vm-2', 'db'], ['vm-3', 'web2']].map(([VmIdentifier, VmName]) => ({ VmIdentifier, VmName, Volumes: [{ VmVolumeIdentifier: 'scsi:0:0' }] }));

/** Status and progress of a VPG on its way to MeetingSLA, one step per look. */
const SYNC: readonly Partial<VpgApi>[] = [
  { Status: 0, SubStatus: 2, ProgressPercentage: 0 }, { Status: 0, SubStatus: 1, ProgressPercentage: 40 }, { Status: 0, SubStatus: 4, ProgressPercentage: 0 },
  { Status: 1, SubStatus: 0, ProgressPercentage: 0, ActualRPO: 5 },
];

const vpg = (VpgIdentifier: string, VpgName: string, over: Partial<VpgApi> = {}): VpgApi => ({
  VpgIdentifier, VpgName, Link: link, Status: 1, SubStatus: 0, ProgressPercentage: 0, Priority: 1, VmsCount: 1, ActualRPO: 6, ConfiguredRpoSeconds: 300,
  ProtectedSiteName: 'Aachen', RecoverySiteName: 'Berlin', ...over,
});

const checkpoint = (id: number, over: Partial<CheckpointApi> = {}): CheckpointApi => ({
  CheckpointIdentifier: String(id), TimeStamp: new Date(Date.UTC(2026, 10, 22, 2, 0, id)).toISOString(), Tag: null, Type: 0, ...over,
});

export interface FakeSite extends ApiServer {
  /** Sections as they were when the draft was committed, by their path below the draft. */
  readonly committed: Record<string, unknown>[];
  readonly state: FakeState;
}

export interface FakeState {
  vpgs: VpgApi[];
  checkpoints: CheckpointApi[];
  /** Reason with which the next task fails; null: tasks work. */
  taskFailure: string | null;
  /** What a task that works says in the end. */
  taskReason: string;
  /** Answer of the next commit of a draft; null: it works. */
  commitFault: string | null;
  /** What each look at the rotation of the CA finds, the last one from then on. */
  rotation: CaRotationApi[];
  isImported: boolean;
}

const certificate = (Component: string): CertificateApi => ({
  Component, Subject: `CN=${Component.toLowerCase()}`, Names: ['IP Address:127.0.0.1'], Issuer: 'CN=Tidemark site a', ValidFrom: '2026-11-01T00:00:00Z', ValidUntil: '2027-01-30T00:00:00Z', Fingerprint: 'AB:CD',
});

/** A site manager that knows just enough for the command line: inventory, drafts, VPGs, checkpoints, tasks that take three looks. */
export async function startFakeSite(): Promise<FakeSite> {
  const state: FakeState = {
    vpgs: [vpg('vpg-1', 'Shop')], checkpoints: [checkpoint(9), checkpoint(10, { Tag: 'before update', Type: 1 }), checkpoint(11)], taskFailure: null, taskReason: '', commitFault: null,
    rotation: [{ Phase: 'Steady', WaitsFor: [] }], isImported: false,
  };
  const committed: Record<string, unknown>[] = [];
  const fake = new FakeRoutes(state, committed);
  const server = await startApiServer((request) => fake.answer(request));
  fake.caPem = server.certificatePem;
  return { ...server, committed, state };
}

const THROTTLING = {
  BandwidthThrottlingInMBs: 10, Window: { From: '08:00', To: '18:00', BandwidthThrottlingInMBs: 2.5 },
  Status: { EffectiveLimitInMBs: 2.5, OutgoingInMBs: 2.48, IsThrottled: true },
};

class FakeRoutes {
  #draft: Record<string, unknown> = {};
  #looks = 0;
  #createdLooks = -1;
  caPem = '';

  constructor(private readonly state: FakeState, private readonly committed: Record<string, unknown>[]) {}

  answer(request: ApiRequest): ApiReply {
    const { method, path } = request;
    if (path.startsWith('/vpgsettings')) return this.#settings(request);
    if (path.startsWith('/tasks/')) return this.#task();
    if (method === 'PUT' && path === '/localsite/settings/throttling') return { body: request.body };
    if (method === 'GET' && path === '/localsite/settings/throttling') return { body: THROTTLING };
    if (method === 'POST' && path === '/vbas') return { body: { VbaIdentifier: '5', Token: 'tidemark1.enrolment.vba', UtcExpirationDate: '2026-11-22T03:00:00.000Z' } };
    if (path.startsWith('/localsite/certificate')) return this.#certificates(request);
    if (method === 'GET') return this.#get(path);
    if (path.endsWith('/changerecoveryvra/recommendation')) return { body: recommended(request.body as VraChangeRecoveryHostRecommendationRequestApi) };
    if (path.endsWith('token')) return { body: { Token: /v[rb]as/.test(path) ? 'tidemark1.enrolment.abc' : 'tidemark1.pairing.abc', UtcExpirationDate: '2026-11-22T03:00:00.000Z' } };
    this.#looks = 0;
    if (method === 'POST' && path.endsWith('/checkpoints')) this.state.checkpoints.push(checkpoint(12, { Tag: (request.body as { CheckpointName: string }).CheckpointName, Type: 1 }));
    return { body: 'task.1' };
  }

  #get(path: string): ApiReply {
    const [, , id = '', kind = ''] = path.split('/');
    switch (path.split('/')[1]) {
      case 'localsite': return { body: { SiteIdentifier: 'site-a', SiteName: 'Aachen', Version: '0.1.0', Link: link, IpAddress: '127.0.0.1' } };
      case 'peersites': return { body: [{ SiteIdentifier: 'site-b', PeerSiteName: 'Berlin', PairingStatus: 0, HostName: '127.0.2.1', Port: 9081, Link: link }] };
      case 'virtualizationsites': return { body: kind === 'vms' ? VMS : kind === 'hosts' ? HOSTS : SITES };
      case 'vms': return { body: [] };
      case 'vras': return {
        body: [
          { VraName: 'Z-VRA-host-a1', VraIdentifierStr: '7', Status: 0, IsConnected: false, Link: link },
          { VraName: 'Z-VRA-host-a9', VraIdentifierStr: '9', HostIdentifier: 'host-9', HostDisplayName: 'host-a9', Status: 0, IsConnected: true, Link: link },
        ],
      };
      case 'vbas': return { body: [{ VbaName: 'backup', VbaIdentifier: '5', HostIdentifier: 'backup-host', IpAddress: '127.0.1.9', IsConnected: true, IsBeingRemoved: false, CertificateEnds: '2027-02-20T02:00:00.000Z', Link: link }] };
      case 'alerts': return { body: [{ HelpIdentifier: 'ZVM0003', Level: 1, Entity: 0, Description: "site 'Berlin' does not answer", TurnedOn: '2026-11-22T02:00:00Z', Link: link }] };
      case 'vpgs': return this.#vpgs(id, kind, path);
      default: return { status: 404, body: { Message: `no resource ${path}` } };
    }
  }

  #certificates({ method, path }: ApiRequest): ApiReply {
    if (path.startsWith('/localsite/certificates')) {
      // The look before the rotation is begun uses up no step.
      const [Rotation = { Phase: 'Steady', WaitsFor: [] }] = this.state.rotation;
      if (method === 'POST' || Rotation.Phase !== 'Steady') this.state.rotation = this.state.rotation.length > 1 ? this.state.rotation.slice(1) : this.state.rotation;
      const all: SiteCertificatesApi = { Certificates: ['SiteCa', 'Zvm', 'Nats'].map(certificate), Rotation, CaPem: this.caPem };
      return { body: all };
    }
    if (method !== 'GET') this.state.isImported = method === 'PUT';
    const served: RestCertificateApi = { ...certificate('Rest'), Subject: this.state.isImported ? 'CN=company' : 'CN=zvm', IsImported: this.state.isImported };
    return { body: served };
  }

  #vpgs(id: string, kind: string, path: string): ApiReply {
    if (path.endsWith('/stats')) return { body: { Earliest: this.state.checkpoints[0], Latest: this.state.checkpoints.at(-1) } };
    if (kind === 'verifications') return { body: [{ TaskIdentifier: 'task.1', CheckpointIdentifier: '11', VbaIdentifier: '5', VerifiedAt: '2026-11-22T02:00:00Z', Volumes: [{ VmIdentifier: 'vm-1', VmName: 'web', DiskIdentifier: 'scsi:0:0', ReadInBytes: 4096, Sha256: 'ab'.repeat(32) }] }] };
    // Newest first: clients must not rely on an order.
    if (kind === 'checkpoints') return { body: [...this.state.checkpoints].reverse() };
    const all = this.#createdLooks < 0 ? this.state.vpgs : [...this.state.vpgs, vpg('vpg-2', 'Mail', { VmsCount: 2, ...SYNC[Math.min(this.#createdLooks++, SYNC.length - 1)] })];
    return { body: id === '' ? all : (all.find(({ VpgIdentifier }) => VpgIdentifier === id) ?? null) };
  }

  #settings({ method, path, body }: ApiRequest): ApiReply {
    const section = path.split('/').slice(3).join('/');
    const { VpgIdentifier } = (body ?? {}) as { readonly VpgIdentifier?: string };
    if (method === 'POST' && section === '' && VpgIdentifier !== undefined) {
      this.#draft = { VpgIdentifier };
      return { body: 'draft-1' };
    }
    if (method === 'POST' && section === '') {
      this.#draft = { basic: { Name: null, Priority: 'Medium', RpoInSeconds: 300, JournalHistoryInHours: 24 }, recovery: { DefaultFolderIdentifier: null }, networks: {}, vms: [] };
      return { body: 'draft-1' };
    }
    if (section === 'commit') return this.#commit();
    if (method === 'GET') return { body: this.#draft[section] };
    if (method === 'PUT') this.#draft[section] = body;
    if (method === 'POST' && section === 'vms') this.#draft['vms'] = [...(this.#draft['vms'] as unknown[]), body];
    return {};
  }

  #commit(): ApiReply {
    if (this.state.commitFault !== null) return { status: 400, body: { Message: this.state.commitFault } };
    this.committed.push(this.#draft);
    this.#looks = 0;
    this.#createdLooks = 0;
    return { body: 'task.1' };
  }

  #task(): ApiReply {
    const task = (State: number, Progress: number, over: Partial<TaskApi> = {}): ApiReply => ({
      body: { TaskIdentifier: 'task.1', Link: link, Type: 2, Status: { State, Progress }, Started: '2026-11-22T02:00:00Z', ...over },
    });
    this.#looks += 1;
    if (this.#looks < 3) return task(1, this.#looks * 30, { CurrentStep: 'powering on the recovered VMs' });
    if (this.state.taskFailure !== null) return task(4, 60, { CompleteReason: this.state.taskFailure });
    return task(6, 100, { Completed: '2026-11-22T02:00:09Z', CompleteReason: this.state.taskReason });
  }
}

/** To host-2, unless another host is asked for; the VM `stuck` can go nowhere. */
function recommended({ VmsToCalculate, Constraints }: VraChangeRecoveryHostRecommendationRequestApi): VraChangeRecoveryHostRecommendationResultApi {
  const fixed = Constraints?.FixedVmsAllocations?.[0]?.HostIdentifier;
  const wanted = VmsToCalculate?.length ? VmsToCalculate : ['vm-1', 'vm-2'];
  return {
    Recommendations: wanted.map((VmIdentifier) => (fixed === 'host-9'
      ? { VmIdentifier, HostIdentifier: null, HostName: null, Reason: 'host host-9 does not see datastore ds' }
      : { VmIdentifier, HostIdentifier: fixed ?? 'host-2', HostName: 'host-b2', Reason: 'recovers the fewest VMs (0)' })),
  };
}
