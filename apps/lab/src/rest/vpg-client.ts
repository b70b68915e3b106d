import type { CheckpointVerificationApi } from '@tidemark/contracts';
import { LabError } from '../lab-error.js';
import type { SiteApi } from './site-api.js';

/** `CheckpointApi` of the REST API. */
export interface Checkpoint {
  readonly CheckpointIdentifier: string;
  readonly TimeStamp: string;
  readonly Tag?: string | null;
  readonly Type: number;
}

/** What is read of `VpgApi`. */
export interface VpgView {
  readonly VpgIdentifier: string;
  readonly VpgName: string;
  readonly Status: number;
  readonly SubStatus: number;
  readonly ProgressPercentage: number;
  /** Seconds; null while not known. */
  readonly ActualRPO: number | null;
  readonly ProtectedSiteName: string;
  readonly SubStatusDescription: string;
}

export const VPG_STATUS = { initializing: 0, meetingSla: 1, notMeetingSla: 2, recovered: 8 } as const;

export interface ProtectRequest {
  readonly name: string;
  readonly vmIds: readonly string[];
  readonly recoverySiteId: string;
  /** Host of the recovery site, by VM; the first one where none is named. */
  readonly hostNameOf?: Readonly<Record<string, string>>;
  readonly journalHours?: number;
  readonly checkpointIntervalSeconds?: number;
}

interface RecoveryPlace {
  readonly hosts: readonly { readonly HostIdentifier: string; readonly VirtualizationHostName: string }[];
  readonly hostId: string;
  readonly datastoreId: string;
  readonly folderId: string;
  readonly productionNetworkId: string;
  readonly testNetworkId: string;
}

/** The draft → sections → commit dance that protects VMs. @returns the VPG's identifier, the same at both sites. */
export async function protect(api: SiteApi, request: ProtectRequest): Promise<string> {
  const place = await recoveryPlace(api, request);
  const { SiteIdentifier: protectedSiteId } = await api.get<{ SiteIdentifier: string }>('/localsite');
  const draft = await api.call<string>('POST', '/vpgSettings', {});
  const section = async (name: string, change: object): Promise<void> => {
    const current = await api.get<object>(`/vpgSettings/${draft}/${name}`);
    await api.call('PUT', `/vpgSettings/${draft}/${name}`, { ...current, ...change });
  };
  await section('basic', {
    Name: request.name,
    JournalHistoryInHours: request.journalHours ?? 1,
    UseWanCompression: true,
    ...(request.checkpointIntervalSeconds === undefined ? {} : { CheckpointIntervalInSeconds: request.checkpointIntervalSeconds }),
    ProtectedSiteIdentifier: protectedSiteId,
    RecoverySiteIdentifier: request.recoverySiteId,
  });
  await section('recovery', {
    DefaultHostIdentifier: place.hostId,
    DefaultDatastoreIdentifier: place.datastoreId,
    DefaultFolderIdentifier: place.folderId,
  });
  await section('networks', {
    Failover: { Hypervisor: { DefaultNetworkIdentifier: place.productionNetworkId } },
    FailoverTest: { Hypervisor: { DefaultNetworkIdentifier: place.testNetworkId } },
  });
  for (const vmId of request.vmIds) {
    await api.call('POST', `/vpgSettings/${draft}/vms`, { VmIdentifier: vmId });
    const host = place.hosts.find((candidate) => candidate.VirtualizationHostName === request.hostNameOf?.[vmId]);
    if (host) await chooseHost(api, `/vpgSettings/${draft}/vms/${vmId}`, host.HostIdentifier);
  }
  await api.run('POST', `/vpgSettings/${draft}/commit`);
  return await vpgIdOf(api, request.name);
}

async function chooseHost(api: SiteApi, path: string, hostId: string): Promise<void> {
  const vm = await api.get<{ Recovery?: object | null }>(path);
  await api.call('PUT', path, { ...vm, Recovery: { ...vm.Recovery, HostIdentifier: hostId } });
}

async function vpgIdOf(api: SiteApi, name: string): Promise<string> {
  const vpgs = await api.get<VpgView[]>(`/vpgs?name=${encodeURIComponent(name)}`);
  const vpg = vpgs.find((candidate) => candidate.VpgName === name);
  if (!vpg) throw new LabError('LAB_REFUSED', `VPG ${name} was committed and is not listed`);
  return vpg.VpgIdentifier;
}

/** The protecting site shows its paired sites' inventory too. */
async function recoveryPlace(api: SiteApi, request: ProtectRequest): Promise<RecoveryPlace> {
  const base = `/virtualizationsites/${request.recoverySiteId}`;
  const [hosts, datastores, folders, networks] = await Promise.all([
    api.get<{ HostIdentifier: string; VirtualizationHostName: string }[]>(`${base}/hosts`),
    api.get<{ DatastoreIdentifier: string }[]>(`${base}/datastores`),
    api.get<{ FolderIdentifier: string }[]>(`${base}/folders`),
    api.get<{ NetworkIdentifier: string; VirtualizationNetworkName: string }[]>(`${base}/networks`),
  ]);
  const [host] = hosts;
  const [datastore] = datastores;
  const [folder] = folders;
  const [firstNetwork] = networks;
  if (!host || !datastore || !folder || !firstNetwork) throw new LabError('LAB_REFUSED', `site ${request.recoverySiteId} shows no place to recover into`);
  const testNetwork = networks.find((network) => /test/i.test(network.VirtualizationNetworkName)) ?? firstNetwork;
  return {
    hosts,
    hostId: host.HostIdentifier,
    datastoreId: datastore.DatastoreIdentifier,
    folderId: folder.FolderIdentifier,
    productionNetworkId: firstNetwork.NetworkIdentifier,
    testNetworkId: testNetwork.NetworkIdentifier,
  };
}

/** One VPG, seen from one of its two sites. */
export class VpgClient {
  constructor(
    readonly api: SiteApi,
    readonly vpgId: string,
  ) {}

  view(): Promise<VpgView> {
    return this.api.get(`/vpgs/${this.vpgId}`);
  }

  /** Oldest first. */
  async checkpoints(): Promise<Checkpoint[]> {
    const listed = await this.api.get<Checkpoint[]>(`/vpgs/${this.vpgId}/checkpoints`);
    return [...listed].sort((left, right) => Number(left.CheckpointIdentifier) - Number(right.CheckpointIdentifier));
  }

  /** Resolves when the checkpoint is listed at both sites. */
  async insertTagged(tag: string, { isApplicationConsistent = false } = {}): Promise<Checkpoint> {
    await this.api.run('POST', `/vpgs/${this.vpgId}/checkpoints`, { CheckpointName: tag, Vss: isApplicationConsistent });
    const found = (await this.checkpoints()).reverse().find((checkpoint) => checkpoint.Tag === tag);
    if (!found) throw new LabError('LAB_REFUSED', `checkpoint '${tag}' was inserted and is not listed`);
    return found;
  }

  /** Resolves when a VBA of the recovery site has read every byte of it. @returns SHA-256 of each disk, in order of the sums, by name of the VM */
  async verify(checkpointId: string): Promise<ReadonlyMap<string, string[]>> {
    await this.api.run('POST', `/vpgs/${this.vpgId}/verifycheckpoint`, { CheckpointIdentifier: checkpointId });
    const [verified] = await this.api.get<CheckpointVerificationApi[]>(`/vpgs/${this.vpgId}/verifications`);
    if (verified?.CheckpointIdentifier !== checkpointId) throw new LabError('LAB_REFUSED', `checkpoint ${checkpointId} was verified and is not listed`);
    return new Map([...Map.groupBy(verified.Volumes, ({ VmName }) => VmName)].map(([name, volumes]) => [name, volumes.map(({ Sha256 }) => Sha256).sort()]));
  }

  startTest(checkpointId: string): Promise<void> {
    return this.api.run('POST', `/vpgs/${this.vpgId}/FailoverTest`, { CheckpointIdentifier: checkpointId });
  }

  stopTest(): Promise<void> {
    return this.api.run('POST', `/vpgs/${this.vpgId}/FailoverTestStop`, { FailoverTestSuccess: true, FailoverTestSummary: 'bytes compared' });
  }

  /** Resolves when the VMs run at the recovery site; then it waits for a person to commit or roll back. */
  failover(checkpointId: string): Promise<void> {
    return this.api.run('POST', `/vpgs/${this.vpgId}/Failover`, {
      CheckpointIdentifier: checkpointId,
      CommitPolicy: 2,
      TimeToWaitBeforeShutdownInSec: 3600,
      ShutdownPolicy: 2,
      IsReverseProtection: false,
    });
  }

  commit({ isReverse = false } = {}): Promise<void> {
    return this.api.run('POST', `/vpgs/${this.vpgId}/FailoverCommit`, { IsReverseProtection: isReverse });
  }

  /** Resolves when the VMs run at the recovery site; then it waits for a person to commit or roll back. */
  move({ isReverse = false } = {}): Promise<void> {
    return this.api.run('POST', `/vpgs/${this.vpgId}/Move`, { CommitPolicy: 2, ForceShutdown: true, ReverseProtection: isReverse });
  }

  commitMove(): Promise<void> {
    return this.api.run('POST', `/vpgs/${this.vpgId}/MoveCommit`, {});
  }

  rollback(): Promise<void> {
    return this.api.run('POST', `/vpgs/${this.vpgId}/FailoverRollback`);
  }
}
