import { type BeforeApplicationShutdown, type DynamicModule, Global, Inject, Injectable, Module } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR } from '@nestjs/core';
import { inboxNameOf } from '@tidemark/contracts';
import { createHypervisorManager, type HypervisorAccess } from '@tidemark/hypervisor';
import { ControlBus, ownBrokerAccess } from '@tidemark/nest';
import { ProcessScriptRunner } from '@tidemark/script';
import { readPrivate } from '@tidemark/trust';
import { readFile } from 'node:fs/promises';
import { AlertService } from './alert/alert.service.js';
import { AlertSwitch } from './alert/alert-switch.js';
import { AlertStore } from './alert/alert.store.js';
import { AlertsController } from './alert/alerts.controller.js';
import { ActAudit } from './audit/act-audit.js';
import { AuditLog } from './audit/audit-log.js';
import { AuditController } from './audit/audit.controller.js';
import { AuditStore } from './audit/audit.store.js';
import { RequestAudit } from './audit/request-audit.js';
import { SyslogController } from './audit/syslog.controller.js';
import { SyslogService } from './audit/syslog.service.js';
import { Clock } from './clock.js';
import { ZVM_CONFIG, type ZvmConfig } from './config.js';
import { Enrolment } from './enrolment/enrolment.service.js';
import { InternalListener } from './enrolment/internal-listener.js';
import { TrustRenewal } from './enrolment/trust-renewal.js';
import { TrustTokenStore } from './enrolment/trust-token.store.js';
import { VoidedComponentStore } from './enrolment/voided-component.store.js';
import { EventRetention } from './event/event-retention.js';
import { EventService } from './event/event.service.js';
import { EventsController } from './event/events.controller.js';
import { CallRate } from './http/call-rate.js';
import { Links } from './http/links.js';
import { JsonReplies } from './http/rest.js';
import { RestErrorFilter } from './http/rest-errors.js';
import { RootController } from './http/root.controller.js';
import { HYPERVISOR, InventoryService } from './inventory/inventory.service.js';
import { NatsUsers, SYSTEM_BUS } from './nats/nats-users.service.js';
import { SystemAccess } from './nats/system-access.js';
import { OidcController } from './oidc/oidc.controller.js';
import { OidcService } from './oidc/oidc.service.js';
import { OperationService } from './operation/operation.service.js';
import { PairingAcceptance } from './peer/pairing-acceptance.service.js';
import { PairingService } from './peer/pairing.service.js';
import { PeerExchange } from './peer/peer-exchange.service.js';
import { PeerKeys } from './peer/peer-keys.js';
import { PeerLinkService } from './peer/peer-link.service.js';
import { PeerResponder } from './peer/peer-responder.js';
import { PeerSitesController } from './peer/peer-sites.controller.js';
import { PeerTrust } from './peer/peer-trust.service.js';
import { PeerStore } from './peer/peer.store.js';
import { Database } from './persistence/database.js';
import { RecoveryScripts, SCRIPT_RUNNER } from './script/recovery-scripts.service.js';
import { Lockout } from './session/lockout.js';
import { SessionController } from './session/session.controller.js';
import { SessionGuard } from './session/session.guard.js';
import { SessionService } from './session/session.service.js';
import { SessionStore } from './session/session.store.js';
import { SiteThrottle } from './site/site-throttle.service.js';
import { LocalSiteController } from './site/local-site.controller.js';
import { SiteInventoryService } from './site/site-inventory.service.js';
import { VirtualizationSitesController } from './site/virtualization-sites.controller.js';
import { TaskService } from './task/task.service.js';
import { TaskRetention } from './task/task-retention.js';
import { TaskStore } from './task/task.store.js';
import { TasksController } from './task/tasks.controller.js';
import { TokenService } from './token/token.service.js';
import { TokensController } from './token/tokens.controller.js';
import { CaRotation } from './trust/ca-rotation.service.js';
import { RestCertificate } from './trust/rest-certificate.js';
import { SiteTrust } from './trust/site-trust.js';
import { TrustController } from './trust/trust.controller.js';
import { TrustService } from './trust/trust.service.js';
import { UserService } from './user/user.service.js';
import { UserStore } from './user/user.store.js';
import { UsersController } from './user/users.controller.js';
import { VmsController } from './vm/vms.controller.js';
import { CommitService } from './vpg-settings/commit.service.js';
import { DefinitionService } from './vpg-settings/definition.service.js';
import { DraftService } from './vpg-settings/draft.service.js';
import { DraftStore } from './vpg-settings/draft.store.js';
import { SECTION_CONTROLLERS } from './vpg-settings/sections.controller.js';
import { VpgSettingsController } from './vpg-settings/vpg-settings.controller.js';
import { CatalogueService } from './vpg/catalogue.service.js';
import { CatalogueCopies } from './vpg/catalogue-copies.service.js';
import { CatalogueStore } from './vpg/catalogue.store.js';
import { DecisionTimer } from './vpg/decision-timer.js';
import { ChangeVpgOperations } from './vpg/operations/change-vpg.js';
import { CreateVpgOperation } from './vpg/operations/create-vpg.js';
import { FailoverCommitOperations } from './vpg/operations/failover-commit.js';
import { FailoverTestOperations } from './vpg/operations/failover-test.js';
import { FailoverOperations } from './vpg/operations/failover.js';
import { MoveRecoveryOperation } from './vpg/operations/move-recovery.js';
import { InsertCheckpointOperation } from './vpg/operations/insert-checkpoint.js';
import { SteerReplicationOperations } from './vpg/operations/steer-replication.js';
import { ProtectedSite } from './vpg/protected-site.service.js';
import { FenceStore } from './ownership/fence.store.js';
import { OwnershipController } from './ownership/ownership.controller.js';
import { OwnerWords } from './ownership/owner-words.js';
import { OwnershipService } from './ownership/ownership.service.js';
import { RecoveredVms } from './vpg/recovered-vms.service.js';
import { RecoveryActions } from './vpg/recovery-actions.service.js';
import { RecoverySite } from './vpg/recovery-site.service.js';
import { VpgConsents } from './vpg/vpg-consents.service.js';
import { VpgActions } from './vpg/vpg-actions.service.js';
import { VmFollower } from './vpg/vm-follower.service.js';
import { VpgStatusService } from './vpg/vpg-status.service.js';
import { FailoverSteps } from './vpg/operations/failover-steps.js';
import { MoveOperation } from './vpg/operations/move.js';
import { MoveStreams } from './vpg/operations/move-streams.js';
import { ReverseProtectionOperation } from './vpg/operations/reverse-protection.js';
import { TakeReverseOperation } from './vpg/operations/take-reverse.js';
import { VmHostStore } from './vpg/vm-host.store.js';
import { VpgStore } from './vpg/vpg.store.js';
import { VpgsController } from './vpg/vpgs.controller.js';
import { VbaLinkService } from './vba/vba-link.service.js';
import { VbaTrust } from './vba/vba-trust.service.js';
import { VerificationsController } from './vba/verifications.controller.js';
import { VerifyCheckpointOperation } from './vba/verify-checkpoint.js';
import { VbaService } from './vba/vba.service.js';
import { VbaStore } from './vba/vba.store.js';
import { VbasController } from './vba/vbas.controller.js';
import { ChangeRecoveryVraController } from './vra/change-recovery-vra.controller.js';
import { ChangeRecoveryVra } from './vra/change-recovery-vra.service.js';
import { EvacuateVraOperation } from './vra/evacuate-vra.js';
import { VraBeliefs } from './vra/vra-beliefs.service.js';
import { SITE_BUS, VraLinkService } from './vra/vra-link.service.js';
import { VraOperations } from './vra/vra-operations.js';
import { VraWords } from './vra/vra-words.service.js';
import { CheckpointTrouble } from './vra/checkpoint-trouble.js';
import { VraStateService } from './vra/vra-state.service.js';
import { VraStore } from './vra/vra.store.js';
import { VrasController } from './vra/vras.controller.js';

const STORES = [AuditStore, UserStore, SessionStore, TaskStore, VpgStore, VmHostStore, VraStore, PeerStore, CatalogueStore, DraftStore, AlertStore, FenceStore, VoidedComponentStore, VbaStore];

const SERVICES = [
  AuditLog, ActAudit, RequestAudit, SyslogService, CallRate, Lockout, UserService, TokenService, SessionService, OidcService, TaskService, TaskRetention, EventService, EventRetention, InventoryService, OperationService, SiteInventoryService, VraLinkService, VraWords, VraBeliefs, SiteThrottle, VraStateService, CheckpointTrouble, VraOperations,
  RecoveryScripts, PeerLinkService, PeerExchange, PeerResponder, PairingService, CatalogueService, RecoverySite, VpgConsents, CatalogueCopies, ProtectedSite, RecoveredVms, RecoveryActions, VpgActions,
  VpgStatusService, VmFollower, DecisionTimer, DefinitionService, DraftService, CommitService, AlertService, AlertSwitch, TrustService, CaRotation,
  NatsUsers, TrustTokenStore, Enrolment, TrustRenewal, InternalListener, PeerKeys, PeerTrust, PairingAcceptance,
  CreateVpgOperation, ChangeVpgOperations, SteerReplicationOperations, InsertCheckpointOperation, FailoverTestOperations, FailoverOperations, FailoverCommitOperations,
  FailoverSteps, MoveStreams, MoveOperation, ReverseProtectionOperation, TakeReverseOperation,
  MoveRecoveryOperation, ChangeRecoveryVra, EvacuateVraOperation, OwnerWords, OwnershipService, VbaLinkService, VbaService, VbaTrust, VerifyCheckpointOperation,
];

/** What a ZVM has before anything else: it is opened, or made, before the first module. */
export interface OwnTrust {
  readonly trust: SiteTrust;
  readonly certificate: RestCertificate;
}

/** Closes the site's broker connection first of all: a ZVM that is ending answers nobody any more. */
@Injectable()
class SiteBusOwner implements BeforeApplicationShutdown {
  constructor(
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    @Inject(SYSTEM_BUS) private readonly system: ControlBus,
  ) {}

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all([this.bus.close(), this.system.close()]);
  }
}

async function systemBus({ siteId, siteName, natsUrl }: ZvmConfig, trust: SiteTrust): Promise<ControlBus> {
  const access = await SystemAccess.make({ siteId, authority: trust.nats, caPem: () => trust.ca.trustedPem });
  return new ControlBus({ url: natsUrl, name: `zvm ${siteName} (system)`, access });
}

async function hypervisorAccess({ hypervisorCredentialFile, hypervisorCaFile }: ZvmConfig, trust: SiteTrust): Promise<HypervisorAccess> {
  const ca = hypervisorCaFile === undefined ? undefined : await readFile(hypervisorCaFile, 'utf8');
  return { credential: (await readPrivate(hypervisorCredentialFile)).trim(), caPem: () => (ca === undefined ? trust.ca.trustedPem : [ca]) };
}

/** What the ZVM gets from outside its own code: everything that a test replaces. */
@Global()
@Module({})
class SurroundingsModule {
  static of(config: ZvmConfig, { trust, certificate }: OwnTrust): DynamicModule {
    return {
      module: SurroundingsModule,
      providers: [
        Clock, Database,
        { provide: ZVM_CONFIG, useValue: config },
        { provide: SiteTrust, useValue: trust },
        { provide: RestCertificate, useValue: certificate },
        { provide: Links, useValue: new Links(`https://${config.address}:${config.restPort}`) },
        { provide: HYPERVISOR, useFactory: async () => createHypervisorManager(config.hypervisor, await hypervisorAccess(config, trust)) },
        { provide: SCRIPT_RUNNER, useFactory: () => (config.scripts === null ? null : new ProcessScriptRunner(config.scripts)) },
        { provide: SITE_BUS, useFactory: () => new ControlBus({ url: config.natsUrl, name: `zvm ${config.siteName}`, access: ownBrokerAccess(trust.zvm, inboxNameOf({ kind: 'zvm' })) }) },
        { provide: SYSTEM_BUS, useFactory: async () => await systemBus(config, trust) },
        SiteBusOwner,
      ],
      exports: [Clock, Database, ZVM_CONFIG, SiteTrust, RestCertificate, Links, HYPERVISOR, SCRIPT_RUNNER, SITE_BUS, SYSTEM_BUS],
    };
  }
}

@Module({})
export class AppModule {
  static of(config: ZvmConfig, own: OwnTrust): DynamicModule {
    return {
      module: AppModule,
      imports: [SurroundingsModule.of(config, own)],
      controllers: [
        RootController, OidcController, SessionController, UsersController, TokensController, AuditController, SyslogController, LocalSiteController, TrustController, VirtualizationSitesController, PeerSitesController, ChangeRecoveryVraController, VrasController, VbasController, VmsController, VpgsController, VerificationsController, OwnershipController,
        // Sections before the draft's own routes: both match, and the first one wins.
        ...SECTION_CONTROLLERS, VpgSettingsController, TasksController, AlertsController, EventsController,
      ],
      providers: [
        ...STORES, ...SERVICES,
        { provide: APP_GUARD, useClass: SessionGuard },
        { provide: APP_FILTER, useClass: RestErrorFilter },
        { provide: APP_INTERCEPTOR, useExisting: RequestAudit },
        { provide: APP_INTERCEPTOR, useClass: JsonReplies },
      ],
    };
  }
}
