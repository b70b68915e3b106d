import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { type PeerNewsV1, type SiteCardV1, subjectOf, UNKNOWN_SITE } from '@tidemark/contracts';
import { ControlBus, ControlError } from '@tidemark/nest';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { invalid, ZvmError, type ZvmErrorCode } from '../errors.js';
import { ZVM_VERSION } from '../version.js';
import { SITE_BUS } from '../vra/vra-link.service.js';
import { PeerStore, type PeerSite } from './peer.store.js';

/** Silence after which a peer site counts as gone. */
export const PEER_SILENCE_MS = 5000;
const HELLO_MS = 5000;

interface Link {
  readonly url: string;
  readonly bus: ControlBus;
}

interface HeardNews {
  readonly news: PeerNewsV1;
  readonly receivedMs: number;
}

const urlOf = (address: string, port: number): string => `ws://${address.includes(':') ? `[${address}]` : address}:${port}`;

const PEER_ERROR_CODES: ReadonlySet<string> = new Set<ZvmErrorCode>([
  'ZVM_INVALID', 'ZVM_NOT_FOUND', 'ZVM_CONFLICT', 'ZVM_DATABASE_DOWN', 'ZVM_HYPERVISOR_DOWN', 'ZVM_VRA_DOWN', 'ZVM_PEER_DOWN', 'ZVM_BROKER_DOWN',
]);

/**
 * One connection into the broker of each paired site, and what was last heard from there. Nothing here waits for a site that is away
 * longer than its deadline, and a lost connection is refused at once.
 */
@Injectable()
export class PeerLinkService implements OnModuleInit, OnApplicationShutdown {
  readonly #links = new Map<string, Link>();
  readonly #heard = new Map<string, HeardNews>();
  readonly #listeners: ((news: PeerNewsV1) => void)[] = [];

  constructor(
    private readonly peers: PeerStore,
    private readonly clock: Clock,
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.peers.onChange(() => this.#followPeers());
    this.bus.listen<PeerNewsV1>(this.#subject(this.config.siteId, 'event', 'peer.news'), (news) => this.#hear(news));
  }

  /** Where and who this site is, for its peers. */
  get card(): SiteCardV1 {
    const { siteId, siteName, location, address, natsPeerPort } = this.config;
    return { siteId, name: siteName, location, version: ZVM_VERSION, address, port: natsPeerPort };
  }

  #followPeers(): void {
    const wanted = new Map(this.peers.all().map((site) => [site.siteId, urlOf(site.address, site.port)]));
    for (const [siteId, link] of this.#links) {
      if (wanted.get(siteId) === link.url) continue;
      this.#links.delete(siteId);
      this.#heard.delete(siteId);
      void link.bus.close().catch(() => undefined);
    }
    for (const [siteId, url] of wanted) {
      if (!this.#links.has(siteId)) this.#links.set(siteId, { url, bus: new ControlBus(url, `zvm ${this.config.siteName}`) });
    }
  }

  #hear(news: PeerNewsV1): void {
    if (!this.peers.find(news.fromSiteId) || !Array.isArray(news.vpgs) || !Array.isArray(news.tasks) || !Array.isArray(news.removedVpgIds)) return;
    this.#heard.set(news.fromSiteId, { news, receivedMs: this.clock.monotonicMs() });
    for (const listener of this.#listeners) listener(news);
  }

  onNews(listener: (news: PeerNewsV1) => void): void {
    this.#listeners.push(listener);
  }

  /** The last news, however old, and its age. */
  lastNews(siteId: string): { readonly news: PeerNewsV1; readonly ageMs: number } | undefined {
    const heard = this.#heard.get(siteId);
    return heard && { news: heard.news, ageMs: this.clock.monotonicMs() - heard.receivedMs };
  }

  silenceMs(siteId: string): number {
    return this.lastNews(siteId)?.ageMs ?? Infinity;
  }

  /** Heard of within the last seconds. */
  isAlive(siteId: string): boolean {
    return this.silenceMs(siteId) < PEER_SILENCE_MS;
  }

  tell(siteId: string, news: PeerNewsV1): void {
    this.#links.get(siteId)?.bus.publish(this.#subject(siteId, 'event', 'peer.news'), news);
  }

  /** @throws ZvmError ZVM_PEER_DOWN, or the error that the peer answered */
  async ask<R>(siteId: string, topic: string, message: object, { timeoutMs = 5000 }: { readonly timeoutMs?: number } = {}): Promise<R> {
    const site = this.peers.get(siteId);
    const link = this.#links.get(site.siteId);
    if (!link) throw new ZvmError('ZVM_PEER_DOWN', `site ${site.name} is not connected`);
    const body = { ...message, fromSiteId: this.config.siteId };
    try {
      return await link.bus.request<R>(this.#subject(site.siteId, 'control', topic), body, { timeoutMs });
    } catch (error) {
      throw asZvmError(error, `site ${site.name}`);
    }
  }

  /** Asks whoever listens at an address who it is. @throws ZvmError ZVM_INVALID when no site answers there */
  async hello(address: string, port: number): Promise<SiteCardV1> {
    return await this.#visit(address, port, (bus) => bus.request<SiteCardV1>(this.#subject(UNKNOWN_SITE, 'control', 'peer.hello'), {}, { timeoutMs: HELLO_MS }));
  }

  /** Asks the site at an address to pair with this one; it answers when it has reached us in turn. */
  async askToPair(site: PeerSite | SiteCardV1): Promise<SiteCardV1> {
    const subject = this.#subject(site.siteId, 'control', 'peer.pair');
    return await this.#visit(site.address, site.port, (bus) => bus.request<SiteCardV1>(subject, { site: this.card }, { timeoutMs: 3 * HELLO_MS }));
  }

  async #visit<R>(address: string, port: number, talk: (bus: ControlBus) => Promise<R>): Promise<R> {
    const bus = new ControlBus(urlOf(address, port), `zvm ${this.config.siteName} (pairing)`);
    try {
      await untilConnected(bus, HELLO_MS, `${address}:${port}`);
      return await talk(bus);
    } catch (error) {
      if (error instanceof ControlError && error.isRetryable) throw invalid(`no Tidemark site answers at ${address}:${port}: ${error.message}`);
      throw asZvmError(error, `the site at ${address}:${port}`);
    } finally {
      await bus.close();
    }
  }

  #subject(siteId: string, channel: 'control' | 'event', topic: string): string {
    return subjectOf({ siteId, service: 'zvm', instanceId: 'main', channel, topic });
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all([...this.#links.values()].map((link) => link.bus.close().catch(() => undefined)));
  }
}

async function untilConnected(bus: ControlBus, timeoutMs: number, where: string): Promise<void> {
  const until = performance.now() + timeoutMs;
  while (!bus.isConnected) {
    if (performance.now() > until) throw invalid(`nothing answers at ${where}: is this the peer port (9081) of a Tidemark site?`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A refusal of the other site keeps its code, so that REST answers as if it had been found here. */
function asZvmError(error: unknown, who: string): unknown {
  if (!(error instanceof ControlError)) return error;
  if (error.isRetryable) return new ZvmError('ZVM_PEER_DOWN', `${who} does not answer: ${error.message}`, { cause: error });
  const code = PEER_ERROR_CODES.has(error.remoteCode ?? '') ? (error.remoteCode as ZvmErrorCode) : 'ZVM_CONFLICT';
  return new ZvmError(code, error.message, { cause: error });
}
