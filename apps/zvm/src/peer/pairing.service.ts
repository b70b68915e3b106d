import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { assertTokenInTime, type PairingToken, parseToken, TrustError } from '@tidemark/trust';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { conflict, invalid } from '../errors.js';
import type { OperationKind, StepContext } from '../operation/operation-kind.js';
import { OperationService, pause } from '../operation/operation.service.js';
import { SiteTrust } from '../trust/site-trust.js';
import { CatalogueStore } from '../vpg/catalogue.store.js';
import { RecoverySite } from '../vpg/recovery-site.service.js';
import { VpgStore } from '../vpg/vpg.store.js';
import { assertCompatible } from './compatible.js';
import { PeerKeys } from './peer-keys.js';
import { PeerLinkService } from './peer-link.service.js';
import { assertCa, PeerTrust } from './peer-trust.service.js';
import { PeerStore } from './peer.store.js';

const CONNECT_MS = 10_000;
const FIRST_NEWS_MS = 20_000;

interface PairInput {
  readonly siteId: string;
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

interface UnpairInput {
  readonly siteId: string;
  readonly name: string;
  readonly isTargetKept: boolean;
  /** The other site has ended it: it knows. */
  readonly isToldByPeer: boolean;
}

type PairContext = StepContext<PairInput>;

/** Makes pairings with a token of the other site, and ends them. */
@Injectable()
export class PairingService implements OnModuleInit {
  constructor(
    private readonly peers: PeerStore,
    private readonly keys: PeerKeys,
    private readonly link: PeerLinkService,
    private readonly peerTrust: PeerTrust,
    private readonly operations: OperationService,
    private readonly vpgs: VpgStore,
    private readonly catalogues: CatalogueStore,
    private readonly recovery: RecoverySite,
    private readonly clock: Clock,
    private readonly trust: SiteTrust,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.keys.load();
    this.operations.register(this.#pairKind());
    this.operations.register(this.#unpairKind());
  }

  /** Answers the task id. @throws ZvmError ZVM_INVALID for what is no token, ZVM_FORBIDDEN or ZVM_PEER_DOWN when it is not taken there, ZVM_CONFLICT when paired already */
  async pair({ address, port, token: text }: { readonly address: string; readonly port: number; readonly token: string }, initiatedBy: string): Promise<string> {
    this.peers.assertLoaded();
    const token = this.#read(text);
    const { siteId, siteName: name } = token;
    if (siteId === this.config.siteId) throw invalid('this token is of this very site: a site cannot be paired with itself');
    if (this.peers.find(siteId)) throw conflict(`site ${name} is paired with this one already`);
    await this.link.knock(token, { address, port });
    if (this.operations.inputsOf('pair').some((input) => (input as PairInput).siteId === siteId)) throw conflict(`site ${name} is being paired with this one already`);
    await this.keys.begin(siteId, text);
    const input: PairInput = { siteId, name, address, port };
    return await this.operations.begin({ kind: 'pair', input, vpgId: null, initiatedBy, related: { siteIds: [siteId] } });
  }

  #read(text: string): PairingToken {
    try {
      const token = parseToken(text, 'pairing');
      assertTokenInTime(token, this.clock.nowMs());
      return token;
    } catch (error) {
      throw error instanceof TrustError ? invalid(error.message) : error;
    }
  }

  #pairKind(): OperationKind<PairInput> {
    return {
      kind: 'pair',
      taskType: 'Pair',
      isExclusive: false,
      done: ({ input }) => `paired with site ${input.name}`,
      steps: {
        redeemToken: { do: (context) => this.#redeem(context), undo: ({ input }) => this.#leave(input.siteId) },
        confirmPeer: { do: (context) => this.#confirm(context) },
        awaitPeer: { do: (context) => this.#untilHeard(context) },
        sealPairing: {
          do: async ({ input }) => {
            await this.link.ask(input.siteId, 'pairing.seal', {});
            await this.peers.update(input.siteId, { state: 'paired', pairedAtMs: this.clock.nowMs() });
            await this.keys.dropToken(input.siteId);
          },
        },
      },
    };
  }

  /** The key that is to be signed is durable before it is sent, and the same one when this step is done again: the other site then answers again. */
  async #redeem({ input }: PairContext): Promise<{ userJwt: string; peerPublicKey: string }> {
    const token = this.keys.token(input.siteId);
    const key = await this.keys.nextKey(input.siteId);
    const caPem = [...this.trust.ca.trustedPem];
    const grant = await this.link.askWithToken(token, input, { secret: token.secret, site: this.link.card, caPem, natsPublicKey: key.publicKey });
    if (grant.site.siteId !== input.siteId) throw invalid(`at ${input.address}:${input.port} answers site ${grant.site.name}, not ${input.name}`);
    assertCompatible(grant.site);
    assertCa(grant.caPem, input.siteId);
    // Address and port are those that the administrator gave: the other site may know itself by other ones.
    await this.peers.put({ ...grant.site, address: input.address, port: input.port, state: 'pairing', caPem: grant.caPem, voided: [], canProtect: false, pairedAtMs: this.clock.nowMs() });
    return { userJwt: grant.userJwt, peerPublicKey: grant.natsPublicKey };
  }

  async #confirm({ input, notes, signal }: PairContext): Promise<void> {
    await this.keys.grant(input.siteId, String(notes['userJwt']));
    this.link.followPeers();
    const userJwt = await this.peerTrust.issueUser(input.siteId, String(notes['peerPublicKey']));
    await this.#until(signal, CONNECT_MS, () => this.link.problemWith(input.siteId) === undefined, () => `site ${input.name} took the token, but its broker cannot be reached: ${this.link.problemWith(input.siteId) ?? ''}`);
    await this.link.ask(input.siteId, 'pairing.confirm', { userJwt });
  }

  async #untilHeard({ input, signal }: PairContext): Promise<void> {
    const { address, port } = this.link.card;
    await this.#until(signal, FIRST_NEWS_MS, () => this.link.isAlive(input.siteId), () => `site ${input.name} accepted, but nothing is heard from it: can it reach ${address}:${port}?`);
  }

  async #until(signal: AbortSignal, timeoutMs: number, isDone: () => boolean, problem: () => string): Promise<void> {
    const until = this.clock.monotonicMs() + timeoutMs;
    while (!isDone() && !signal.aborted) {
      if (this.clock.monotonicMs() > until) throw conflict(problem());
      await pause(100, signal);
    }
  }

  /** Takes a pairing back that did not come to its end. A site that cannot be told now is told later, or lets go by itself. */
  async #leave(siteId: string): Promise<void> {
    if (!this.peers.findAny(siteId)) return await this.keys.remove(siteId);
    await this.peerTrust.shutOut(siteId);
    await this.peerTrust.sayFarewell(siteId);
  }

  /** Answers the task id. @throws ZvmError ZVM_CONFLICT while something is under way on one of their VPGs */
  async unpair(siteId: string, { isTargetKept }: { readonly isTargetKept: boolean }, initiatedBy: string): Promise<string> {
    const peer = this.peers.get(siteId);
    for (const vpg of this.#between(peer.siteId)) {
      if (vpg.failover || vpg.failoverTest) throw conflict(`VPG '${vpg.definition.name}' is failing over or being tested; end that first`);
      this.operations.assertFree(vpg.definition.vpgId, true);
    }
    return await this.#beginUnpair({ siteId: peer.siteId, name: peer.name, isTargetKept, isToldByPeer: false }, initiatedBy);
  }

  async #beginUnpair(input: UnpairInput, initiatedBy: string): Promise<string> {
    return await this.operations.begin({ kind: 'unpair', input, vpgId: null, initiatedBy, related: { siteIds: [input.siteId] } });
  }

  /** The other site ends the pairing: durable when it resolves, done by an operation of its own. */
  async partWith(siteId: string, { isTargetKept }: { readonly isTargetKept: boolean }): Promise<void> {
    const peer = this.peers.find(siteId);
    const isUnderWay = this.operations.inputsOf('unpair').some((input) => (input as UnpairInput).siteId === siteId);
    if (peer && !isUnderWay) await this.#beginUnpair({ siteId, name: peer.name, isTargetKept, isToldByPeer: true }, `site ${peer.name}`);
  }

  #between(siteId: string) {
    return this.vpgs.all().filter(({ definition }) => definition.protectedSiteId === siteId || definition.recoverySiteId === siteId);
  }

  #unpairKind(): OperationKind<UnpairInput> {
    return {
      kind: 'unpair',
      taskType: 'Unpair',
      isExclusive: false,
      done: ({ input, notes }) => `unpaired from site ${input.name}${notes['isPeerTold'] === false ? '; it cannot be reached and is told as soon as it can be' : ''}`,
      steps: {
        revokePeer: { do: async ({ input }) => await this.peerTrust.shutOut(input.siteId) },
        removePairVpgs: { do: async ({ input }) => await this.#dropVpgs(input) },
        tellUnpaired: { do: async ({ input }) => ({ isPeerTold: await this.peerTrust.sayFarewell(input.siteId, { isTargetKept: input.isTargetKept, isTold: input.isToldByPeer }) }) },
      },
    };
  }

  async #dropVpgs({ siteId, isTargetKept }: UnpairInput): Promise<void> {
    for (const { definition, state } of this.#between(siteId)) {
      const isRecoveringHere = definition.recoverySiteId === this.config.siteId;
      // A failed-over VPG has no journals any more, and its recovered VMs own the volumes.
      if (isRecoveringHere && state !== 'needsConfiguration' && state !== 'reversing' && state !== 'removed') {
        await this.recovery.removeRecoveries(definition, { isMirrorKept: isTargetKept, isForced: true });
      }
      await this.vpgs.forget(definition.vpgId);
      this.catalogues.forget(definition.vpgId);
    }
  }
}
