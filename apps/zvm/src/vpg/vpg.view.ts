import { MiB } from '@tidemark/base';
import {
  CHECKPOINT_TYPE, type CheckpointApi, EMPTY_ZORG_ID, ENTITY_TYPE, type JournalHealthStatusApi, PRIORITY, VPG_ALERT_STATUS, VPG_STATUS, VPG_SUB_STATUS, type VpgApi, type VpgEntitiesApi, type VpgSyncApi,
} from '@tidemark/contracts';
import { failSafeHistory, syncSummary } from '@tidemark/vpg';
import type { Links } from '../http/links.js';
import { provisionedMb } from '../site/inventory-views.js';
import type { CatalogueEntry } from './catalogue.store.js';
import { rpoSecondsOf, settingsOf } from './vpg-definition.js';
import type { VpgRecord } from './vpg-model.js';
import type { VpgMeasures } from './vpg-status.service.js';
import { liveDisks } from './followed-disks.js';

const CHECKPOINT_KINDS = { automatic: 'Auto', tagged: 'User', applicationConsistent: 'Vss' } as const;
const MINUTE_MS = 60_000;

export function checkpointView(entry: CatalogueEntry): CheckpointApi {
  return {
    CheckpointIdentifier: String(entry.checkpointId),
    TimeStamp: new Date(entry.atMs).toISOString(),
    Tag: entry.tag,
    Type: CHECKPOINT_TYPE.numbers[CHECKPOINT_KINDS[entry.kind]],
    Vss: entry.kind === 'applicationConsistent',
  };
}

const VCENTER = ENTITY_TYPE.numbers.VCVpg;
export const ENTITIES_VIEW: VpgEntitiesApi = { Protected: VCENTER, Recovery: VCENTER, Source: VCENTER, Target: VCENTER };

export interface VpgViewContext {
  readonly links: Links;
  readonly ownSiteId: string;
  readonly alertLevels: readonly ('Warning' | 'Error')[];
}

const STAGES = { starting: 'Starting', running: 'Running', stopping: 'Stopping' } as const;

export const lastTestView = (vpg: VpgRecord): string | null => (vpg.lastTestAtMs === null ? null : new Date(vpg.lastTestAtMs).toISOString());

/** Whole seconds; an age that is not known is null, never 0. */
export const rpoView = (rpoMs: number | null): number | null => (rpoMs === null ? null : Math.round(rpoMs / 1000));

export function vpgView(vpg: VpgRecord, measures: VpgMeasures, { links, ownSiteId, alertLevels }: VpgViewContext): VpgApi {
  const { definition } = vpg;
  const { visual, streams, recoveries, summary } = measures;
  const iops = Math.round(sum(streams, (stream) => stream.writesPerSecond));
  const alertStatus = alertLevels.includes('Error') ? 'Error' : alertLevels.includes('Warning') ? 'Warning' : 'Healthy';
  return {
    VpgIdentifier: definition.vpgId,
    VpgName: definition.name,
    Link: links.vpg(definition.vpgId),
    Status: VPG_STATUS.numbers[visual.status],
    StatusDescription: visual.status,
    SubStatus: VPG_SUB_STATUS.numbers[visual.subStatus],
    SubStatusDescription: visual.description === '' ? visual.subStatus : `${visual.subStatus}: ${visual.description}`,
    AlertStatus: VPG_ALERT_STATUS.numbers[alertStatus],
    ProgressPercentage: Math.round(10 * visual.progressPercent) / 10,
    Sync: syncView(measures),
    Priority: PRIORITY.numbers[settingsOf(definition).basic.priority ?? 'Medium'],
    VmsCount: definition.vms.length,
    ProvisionedStorageInMB: sum(definition.vms, (vm) => provisionedMb(liveDisks(vm))),
    UsedStorageInMB: recoveries.length === 0 ? null : Math.ceil(sum(recoveries, (recovery) => recovery.mirrorBytes) / MiB),
    IOPs: iops,
    IoPs: iops,
    ThroughputInMB: sum(streams, (stream) => stream.bytesPerSecond) / MiB,
    ActualRPO: rpoView(measures.rpoMs),
    ConfiguredRpoSeconds: rpoSecondsOf(definition),
    LastTest: lastTestView(vpg),
    VpgDescription: null,
    VpgType: 'Remote',
    SourceSite: definition.protectedSiteName,
    TargetSite: definition.recoverySiteName,
    ProtectedSiteName: definition.protectedSiteName,
    ProtectedSite: links.site(definition.protectedSiteId, ownSiteId),
    RecoverySiteName: definition.recoverySiteName,
    RecoverySite: links.site(definition.recoverySiteId, ownSiteId),
    OrganizationName: '',
    Zorg: links.zorg(),
    ServiceProfileIdentifier: EMPTY_ZORG_ID,
    ServiceProfileName: null,
    ServiceProfile: null,
    Entities: ENTITIES_VIEW,
    ActiveProcessesApi: { RunningFailOverTestApi: vpg.failoverTest ? { Stage: STAGES[vpg.failoverTest.phase] } : null },
    BackupEnabled: false,
    FailSafeHistory: failSafeView(measures, definition.historyMs),
    HistoryStatusApi: {
      ActualHistoryInMinutes: Math.floor((measures.historyMs ?? 0) / MINUTE_MS),
      ConfiguredHistoryInMinutes: Math.round(definition.historyMs / MINUTE_MS),
      EarliestCheckpoint: summary.earliest ? checkpointView(summary.earliest) : null,
    },
  };
}

/** What is never given up to a sync is the last checkpoint: then replication pauses, and the description says so. */
function failSafeView({ historyMs, visual, recoveries }: VpgMeasures, historyTargetMs: number): JournalHealthStatusApi {
  const { actualMs, configuredMs } = failSafeHistory({ historyMs, historyTargetMs });
  return {
    ActualFailSafeHistory: Math.floor(actualMs / MINUTE_MS),
    ConfiguredFailSafeHistory: Math.round(configuredMs / MINUTE_MS),
    FailSafeDescription: recoveries.some(({ isAtHardLimit }) => isAtHardLimit) ? visual.description : '',
  };
}

function syncView({ streams, summary, measuredAtMs }: VpgMeasures): VpgSyncApi | null {
  const sync = syncSummary(streams.map((stream) => ({ ...stream, vmName: stream.vmId })), { hasCheckpoint: summary.latest !== null });
  if (!sync) return null;
  const { kind, reason, totalBytes, bytesLeft, bytesToCompare, bytesPerSecond, estimatedMs } = sync;
  return {
    Kind: kind, Reason: reason, TotalBytes: totalBytes, BytesLeft: bytesLeft, BytesToCompare: bytesToCompare, BytesPerSecond: Math.round(bytesPerSecond),
    SecondsLeft: estimatedMs === null ? null : Math.ceil(estimatedMs / 1000), EstimatedEnd: estimatedMs === null ? null : new Date(measuredAtMs + estimatedMs).toISOString(),
  };
}

const sum = <T>(items: readonly T[], valueOf: (item: T) => number): number => items.reduce((total, item) => total + valueOf(item), 0);
