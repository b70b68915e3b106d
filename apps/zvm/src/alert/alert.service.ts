import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { ControlBus } from '@tidemark/nest';
import { type AlertFacts, alertsFor, certificateAlertsFor, type CertificateFacts, diskAlertsFor, heartbeatAlertsFor, type HeartbeatFacts, lossAlertsFor, type LossFacts, type RecoveryAlertFacts, recoveryAlertsFor, syslogAlertsFor, type UnreachableDiskFacts } from '@tidemark/vpg';
import { SyslogService } from '../audit/syslog.service.js';
import { Background } from '../background.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { OwnershipService } from '../ownership/ownership.service.js';
import { PeerLinkService } from '../peer/peer-link.service.js';
import { PeerStore } from '../peer/peer.store.js';
import { TrustService } from '../trust/trust.service.js';
import { rpoSecondsOf, testIntervalMsOf } from '../vpg/vpg-definition.js';
import type { VpgRecord } from '../vpg/vpg-model.js';
import { VpgStatusService } from '../vpg/vpg-status.service.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { VbaLinkService } from '../vba/vba-link.service.js';
import { VbaStore } from '../vba/vba.store.js';
import { SITE_BUS, VraLinkService } from '../vra/vra-link.service.js';
import { VraWords } from '../vra/vra-words.service.js';
import { VraStore } from '../vra/vra.store.js';
import { AlertStore } from './alert.store.js';
import { AlertSwitch } from './alert-switch.js';

/** After a start, silence says nothing until everyone has had the time to speak. */
const GRACE_MS = 8000;

/** Switches alerts on and off by themselves: each second, what should be on is compared with what is. */
@Injectable()
export class AlertService implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #loop = new Background('alerts', 1000, () => this.#compare());
  #startedMs = 0;

  constructor(
    private readonly store: AlertStore,
    private readonly vpgs: VpgStore,
    private readonly status: VpgStatusService,
    private readonly peers: PeerStore,
    private readonly link: PeerLinkService,
    private readonly vras: VraStore,
    private readonly vraLink: VraLinkService,
    private readonly words: VraWords,
    private readonly vbas: VbaStore,
    private readonly vbaLink: VbaLinkService,
    private readonly switches: AlertSwitch,
    private readonly ownership: OwnershipService,
    private readonly clock: Clock,
    private readonly trust: TrustService,
    private readonly syslog: SyslogService,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
    @Inject(SITE_BUS) private readonly bus: ControlBus,
  ) {}

  onApplicationBootstrap(): void {
    this.#startedMs = this.clock.monotonicMs();
    this.#loop.start();
  }

  /** Levels of the alerts that are on and not dismissed for a VPG. */
  levelsOf(vpgId: string): ('Warning' | 'Error')[] {
    return this.store.active().filter((alert) => !alert.isDismissed && alert.vpgIds.includes(vpgId)).map((alert) => alert.level);
  }

  async #compare(): Promise<void> {
    if (!this.store.isLoaded || !this.vpgs.isLoaded || !this.vras.isLoaded || !this.vbas.isLoaded || this.clock.monotonicMs() - this.#startedMs < GRACE_MS) return;
    for (const vpg of this.vpgs.visible()) await this.status.load(vpg);
    const wanted = [
      ...alertsFor(this.#facts()), ...recoveryAlertsFor(this.#recoveryFacts()), ...certificateAlertsFor([...this.trust.facts(), ...this.#vraCertificates(), ...this.#vbaCertificates()], this.clock.nowMs()),
      ...heartbeatAlertsFor(this.#heartbeats()), ...lossAlertsFor(this.#losses()), ...diskAlertsFor(this.#unreachableDisks()), ...syslogAlertsFor(this.syslog.backlog, { nowMs: this.clock.nowMs(), limitMs: 1000 * this.config.syslogAlertSeconds }),
    ];
    await this.switches.follow(wanted);
  }

  #facts(): AlertFacts {
    const vpgs = this.vpgs.visible();
    return {
      vpgs: vpgs.map((vpg) => {
        const measures = this.status.measure(vpg);
        return {
          vpgId: vpg.definition.vpgId,
          name: vpg.definition.name,
          isReplicating: vpg.state === 'protecting' && measures.summary.latest !== null,
          rpoMs: measures.rpoMs,
          voidReason: measures.voidReason,
          rpoTargetMs: 1000 * rpoSecondsOf(vpg.definition),
          isWaitingForCommit: vpg.failover?.phase === 'beforeCommit',
          untestedForMs: this.clock.nowMs() - (vpg.lastTestAtMs ?? vpg.createdAtMs),
          wasTested: vpg.lastTestAtMs !== null,
          testIntervalMs: testIntervalMsOf(vpg.definition),
        };
      }),
      fences: this.ownership.withVms(),
      peers: this.peers.all().filter(({ state }) => state === 'paired').map((peer) => ({
        siteId: peer.siteId,
        name: peer.name,
        isConnected: this.link.isAlive(peer.siteId),
        problem: this.link.problemWith(peer.siteId) ?? null,
        vpgIds: vpgs.filter((vpg) => this.status.otherSiteId(vpg) === peer.siteId).map((vpg) => vpg.definition.vpgId),
      })),
      brokerProblem: this.bus.problem ?? null,
      vras: this.vras.all().filter((vra) => vra.state === 'Installed').map((vra) => ({
        vraId: vra.vraId,
        name: vra.name,
        isConnected: this.vraLink.isAlive(vra.vraId),
        vpgIds: vpgs.filter((vpg) => this.status.ownVraIds(vpg).includes(vra.vraId)).map((vpg) => vpg.definition.vpgId),
      })),
      vbas: this.vbas.all().filter(({ state }) => state === 'Added').map(({ vbaId, name, createdAtMs }) => ({
        vbaId, name, isConnected: this.vbaLink.isAlive(vbaId), wasHeard: this.vbaLink.lastStatus(vbaId) !== undefined, knownForMs: this.clock.nowMs() - createdAtMs,
      })),
    };
  }

  #heartbeats(): HeartbeatFacts[] {
    const vpgs = this.vpgs.visible();
    return [
      ...this.vras.all().map(({ vraId, name }): HeartbeatFacts => ({
        subject: `vra ${vraId}`, sender: `VRA '${name}'`, problem: this.vraLink.problemWith(vraId), vpgIds: vpgs.filter((vpg) => this.status.ownVraIds(vpg).includes(vraId)).map(({ definition }) => definition.vpgId),
      })),
      ...this.vbas.all().map(({ vbaId, name }): HeartbeatFacts => ({ subject: `vba ${vbaId}`, sender: `VBA '${name}'`, problem: this.vbaLink.problemWith(vbaId), vpgIds: [] })),
    ];
  }

  /** As the protecting VRAs tell it, of this site or of the other. */
  #losses(): LossFacts[] {
    return this.vpgs.visible().flatMap((vpg) => this.status.measure(vpg).streams.flatMap(({ vmId, loss }) => {
      const { vpgId, name, vms, recoverySiteName } = vpg.definition;
      const vm = vms.find((candidate) => candidate.vmId === vmId);
      // Of a VM that the VPG does not have there is nothing to lose, whoever says it.
      if (loss === null || !vm) return [];
      return [{ vpgId, vpgName: name, vmId, vmName: vm.name, recoverySiteName, ...loss }];
    }));
  }

  /** As the VRAs of the hosts where the VMs run tell it. */
  #unreachableDisks(): UnreachableDiskFacts[] {
    return this.vpgs.visible().flatMap((record) => this.words.unreachableDisks(record).map(({ vra, vm, disk }) => {
      const { vpgId, name } = record.definition;
      return { ...disk, vpgId, vpgName: name, vmName: vm.name, vraName: vra.name };
    }));
  }

  /** Of the last heartbeat, however old: a VRA falls silent when its certificate ends. */
  #vraCertificates(): CertificateFacts[] {
    return this.vras.all().flatMap(({ vraId, name }) => {
      const identity = this.vraLink.lastStatus(vraId)?.status.identity;
      if (!identity) return [];
      const { notBeforeMs, notAfterMs } = identity;
      const remedy = `The VRA renews it by itself while it reaches this site's NATS: its log says why it could not. After the end it needs a new token: tidemark vra-token`;
      return [{ subject: `vra ${vraId}`, owner: `VRA '${name}'`, notBeforeMs, notAfterMs, remedy }];
    });
  }

  #vbaCertificates(): CertificateFacts[] {
    return this.vbas.all().flatMap(({ vbaId, name }) => {
      const identity = this.vbaLink.lastStatus(vbaId)?.identity;
      if (!identity) return [];
      const { notBeforeMs, notAfterMs } = identity;
      const remedy = `The VBA renews it by itself while it reaches this site's NATS: its log says why it could not. After the end it needs a new token: tidemark vba-token`;
      return [{ subject: `vba ${vbaId}`, owner: `VBA '${name}'`, notBeforeMs, notAfterMs, remedy }];
    });
  }

  /** What the VRAs of this site say of what they recover. */
  #recoveryFacts(): RecoveryAlertFacts {
    const own = this.vpgs.visible().filter((vpg) => this.status.isRecoveredHere(vpg));
    const nameOf = (vpgId: string, vmId: string): string =>
      own.find(({ definition }) => definition.vpgId === vpgId)?.definition.vms.find((vm) => vm.vmId === vmId)?.name ?? vmId;
    const known = new Set(this.vpgs.visible().map(({ definition }) => definition.vpgId));
    /** Of the VPGs that there are, whatever else it names. */
    const vpgIdsOf = (items: readonly { readonly vpgId: string }[]): string[] => [...new Set(items.map(({ vpgId }) => vpgId).filter((vpgId) => known.has(vpgId)))];
    const heard = this.vras.all().flatMap(({ vraId, name }) => {
      const status = this.vraLink.status(vraId);
      return status ? [{ vraId, vraName: name, status }] : [];
    });
    const recoveries = own.map((vpg) => ({ vpg, found: this.words.recoveries(vpg) }));
    /** By VRA: a path that it was never given is not one to tell of. */
    const journalPaths = new Map<string, Set<string>>();
    for (const { recoveringVra, journalDatastore } of own.flatMap(({ definition }) => definition.vms)) journalPaths.set(recoveringVra.vraId, (journalPaths.get(recoveringVra.vraId) ?? new Set()).add(journalDatastore.path));
    const warnings = new Map(recoveries.flatMap(({ found }) => found).map(({ vpgId, vmId, limits }) => [`${vpgId}/${vmId}`, limits.scratchWarningBytes]));
    return {
      journals: recoveries.flatMap(({ vpg, found }) => found.map((recovery) => ({ ...recovery, vpgName: vpg.definition.name, vmName: nameOf(recovery.vpgId, recovery.vmId) }))),
      scratches: own.flatMap((vpg) => this.words.views(vpg).filter(({ viewId }) => writtenViewsOf(vpg).has(viewId)))
        .map((view) => ({ ...view, vmName: nameOf(view.vpgId, view.vmId), warningBytes: warnings.get(`${view.vpgId}/${view.vmId}`) ?? null })),
      datastores: heard.flatMap(({ vraId, status }) => status.datastores.filter(({ path }) => journalPaths.get(vraId)?.has(path)).map((datastore) => ({ ...datastore, vpgIds: vpgIdsOf(status.recoveries) }))),
      clocks: heard.flatMap(({ vraName, status }) => status.barriers.filter(({ vpgId }) => known.has(vpgId)).map(({ vpgId, clockOffsetMs }) => ({ vpgId, vraName, clockOffsetMs }))),
      clockDoubts: heard.flatMap(({ vraId, vraName, status: { clockDoubt, recoveries: of } }) => (clockDoubt ? [{ vraId, vraName, ...clockDoubt, vpgIds: vpgIdsOf(of) }] : [])),
      histories: own.map((vpg) => {
        const { historyMs, recoverableForMs, summary } = this.status.measure(vpg);
        const isReplicating = vpg.state === 'protecting' && summary.latest !== null;
        return { vpgId: vpg.definition.vpgId, name: vpg.definition.name, isReplicating, historyMs, historyTargetMs: vpg.definition.historyMs, recoverableForMs };
      }),
    };
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#loop.stop();
  }
}

/** Views that guests write into are of a failover, a move or a test: those that the VPG knows, and no others of which a VRA speaks. */
const writtenViewsOf = ({ failover, failoverTest }: VpgRecord): ReadonlySet<string> => new Set([...(failover?.vms ?? []), ...(failoverTest?.vms ?? [])].map(({ viewId }) => viewId));
