import { Inject, Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { type Answer, isPeerNews, type PairingGrantV1, pairingInstance, PEER_ANSWERS, type PeerAnswer, peerInstance, type PeerNewsV1, type PeerTopic, type SiteCardV1, speakerOn, subjectOf } from '@tidemark/contracts';
import { brokerTls, type BusAccess, ControlBus, ControlError } from '@tidemark/nest';
import { credentials, type PairingToken } from '@tidemark/trust';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { badAnswer, ZvmError, type ZvmErrorCode } from '../errors.js';
import { EventPace } from '../heartbeat/event-pace.js';
import { ZVM_VERSION } from '../version.js';
import { SITE_BUS } from '../vra/vra-link.service.js';
import { PeerKeys } from './peer-keys.js';
import { PeerStore } from './peer.store.js';

/** Silence after which a peer site counts as gone. */
export const PEER_SILENCE_MS = 5000;
/** They come once a second; what a paired site can have this one read. */
const NEWS_PACE = { intervalMs: 500, bytesPerSecond: 4 << 20 };
const VISIT_MS = 8000;
const KNOCK_MS = 5000;

interface Link {
  readonly url: string;
  readonly bus: ControlBus;
}

interface HeardNews {
  readonly news: PeerNewsV1;
  readonly receivedMs: number;
}

interface Place {
  readonly address: string;
  readonly port: number;
}

type NewsListener = (siteId: string, news: PeerNewsV1) => void;

const urlOf = (address: string, port: number): string => `wss://${address.includes(':') ? `[${address}]` : address}:${port}`;

const PEER_ERROR_CODES: ReadonlySet<string> = new Set<ZvmErrorCode>([
  'ZVM_INVALID', 'ZVM_FORBIDDEN', 'ZVM_NOT_FOUND', 'ZVM_CONFLICT', 'ZVM_DATABASE_DOWN', 'ZVM_HYPERVISOR_DOWN', 'ZVM_VRA_DOWN', 'ZVM_PEER_DOWN', 'ZVM_BROKER_DOWN', 'ZVM_BAD_ANSWER',
]);

/**
 * One connection into the broker of each paired site, as the user that was granted for that pairing alone, and what was last heard from there. Nothing here
 * waits for a site that is away longer than its deadline, and a lost connection is refused at once.
 */
@Injectable()
export class PeerLinkService implements OnModuleInit, OnApplicationShutdown {
  readonly #links = new Map<string, Link>();
  readonly #heard = new Map<string, HeardNews>();
  readonly #listeners: NewsListener[] = [];
  /** By subject: the broker lets each site speak under its own name alone. */
  readonly #pace = new EventPace(NEWS_PACE);

  constructor(
    private readonly peers: PeerStore,
    private readonly keys: PeerKeys,
    private readonly clock: Clock,
    @Inject(SITE_BUS) private readonly bus: ControlBus,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  onModuleInit(): void {
    this.peers.onChange(() => this.followPeers());
    const subject = subjectOf({ siteId: this.config.siteId, service: 'zvm', instanceId: '*', channel: 'event', topic: 'peer.news' });
    this.bus.listen<PeerNewsV1>(subject, (news, actual) => this.#hear(news, actual), (actual, sizeBytes) => this.#pace.isWelcome(actual, sizeBytes, this.clock.monotonicMs()));
  }

  /** Where and who this site is, for its peers. */
  get card(): SiteCardV1 {
    const { siteId, siteName, location, address, natsPeerPort } = this.config;
    return { siteId, name: siteName, location, version: ZVM_VERSION, address, port: natsPeerPort };
  }

  /** A link for everyone who has let this site in; also to be called when that has changed. */
  followPeers(): void {
    const wanted = new Map(this.peers.everyone().filter(({ siteId }) => this.keys.has(siteId)).map((site) => [site.siteId, urlOf(site.address, site.port)]));
    for (const [siteId, link] of this.#links) {
      if (wanted.get(siteId) === link.url) continue;
      this.#links.delete(siteId);
      this.#heard.delete(siteId);
      void link.bus.close().catch(() => undefined);
    }
    for (const [siteId, url] of wanted) {
      if (!this.#links.has(siteId)) this.#links.set(siteId, { url, bus: new ControlBus({ url, name: `zvm ${this.config.siteName}`, access: this.#accessTo(siteId) }) });
    }
  }

  #accessTo(siteId: string): BusAccess {
    return {
      inboxName: peerInstance(this.config.siteId),
      credentials: () => this.keys.credentials(siteId),
      tls: () => brokerTls(siteId, this.peers.findAny(siteId)?.caPem ?? []),
      onChange: (listener) => this.keys.onChange(siteId, listener),
    };
  }

  /** The subject says who speaks: the broker lets each site speak under its own name alone. */
  #hear(news: PeerNewsV1, subject: string): void {
    const speaker = speakerOn(subject);
    if (speaker?.kind !== 'peer' || !this.peers.find(speaker.siteId)) return;
    if (!isPeerNews(news)) return;
    this.#heard.set(speaker.siteId, { news, receivedMs: this.clock.monotonicMs() });
    for (const listener of this.#listeners) listener(speaker.siteId, news);
  }

  onNews(listener: NewsListener): void {
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

  /** Why its broker cannot be reached, for people; undefined while it can. */
  problemWith(siteId: string): string | undefined {
    return this.#links.has(siteId) ? this.#links.get(siteId)?.bus.problem : 'it has not let this site in yet';
  }

  tell(siteId: string, news: PeerNewsV1): void {
    this.#links.get(siteId)?.bus.publish(this.#subject(siteId, 'event', 'peer.news'), news);
  }

  /** @throws ZvmError ZVM_NOT_FOUND, ZVM_PEER_DOWN, or the error that the peer answered */
  async ask<Topic extends PeerTopic>(siteId: string, topic: Topic, message: object, { timeoutMs = 5000 }: { readonly timeoutMs?: number } = {}): Promise<PeerAnswer<Topic>> {
    const site = this.peers.findAny(siteId) ?? this.peers.get(siteId);
    const link = this.#links.get(siteId);
    if (!link) throw new ZvmError('ZVM_PEER_DOWN', `site ${site.name} is not connected`);
    try {
      return await link.bus.request(this.#subject(site.siteId, 'control', topic), message, PEER_ANSWERS[topic] as Answer<PeerAnswer<Topic>>, { timeoutMs });
    } catch (error) {
      throw asZvmError(error, `site ${site.name}`, topic);
    }
  }

  /** Whether a site answers there that has made this token. @throws as {@link askWithToken} */
  async knock(token: PairingToken, place: Place): Promise<void> {
    await this.#visit(token, place, () => Promise.resolve());
  }

  /** One request under the user that a pairing token carries. @throws ZvmError ZVM_PEER_DOWN, or what the other site refused with */
  async askWithToken(token: PairingToken, place: Place, message: object): Promise<PairingGrantV1> {
    const subject = subjectOf({ siteId: token.siteId, service: 'zvm', instanceId: pairingInstance(token.tokenId), channel: 'control', topic: 'pairing.redeem' });
    return await this.#visit(token, place, (bus) => bus.request(subject, message, PEER_ANSWERS['pairing.redeem'], { timeoutMs: VISIT_MS }));
  }

  async #visit<R>(token: PairingToken, { address, port }: Place, talk: (bus: ControlBus) => Promise<R>): Promise<R> {
    const where = `${address}:${port}`;
    const access = { inboxName: pairingInstance(token.tokenId), credentials: () => credentials(token.natsJwt, token.natsSeed), tls: () => brokerTls(token.siteId, [token.caPem]) };
    const bus = new ControlBus({ url: urlOf(address, port), name: `zvm ${this.config.siteName} (pairing)`, access });
    try {
      await untilConnected(bus, where);
      return await talk(bus);
    } catch (error) {
      throw asZvmError(error, `the site at ${where}`, 'pairing.redeem');
    } finally {
      await bus.close();
    }
  }

  #subject(siteId: string, channel: 'control' | 'event', topic: string): string {
    return subjectOf({ siteId, service: 'zvm', instanceId: peerInstance(this.config.siteId), channel, topic });
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all([...this.#links.values()].map((link) => link.bus.close().catch(() => undefined)));
  }
}

async function untilConnected(bus: ControlBus, where: string): Promise<void> {
  const until = performance.now() + KNOCK_MS;
  while (!bus.isConnected) {
    const isRefused = bus.problem?.includes('refuses this user') === true;
    if (isRefused) throw new ZvmError('ZVM_FORBIDDEN', `the site at ${where} does not take this token: ${bus.problem ?? ''}`);
    if (performance.now() > until) throw new ZvmError('ZVM_PEER_DOWN', `no Tidemark site answers at ${where} (${bus.problem ?? ''}): is this the peer port (9081) of the site that made the token?`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A refusal of the other site keeps its code, so that REST answers as if it had been found here. */
function asZvmError(error: unknown, who: string, topic: PeerTopic): unknown {
  if (!(error instanceof ControlError)) return error;
  if (error.isRetryable) return new ZvmError('ZVM_PEER_DOWN', `${who} does not answer: ${error.message}`, { cause: error });
  if (error.code === 'CONTROL_INVALID') return badAnswer(who, topic, error);
  const code = PEER_ERROR_CODES.has(error.remoteCode ?? '') ? (error.remoteCode as ZvmErrorCode) : 'ZVM_CONFLICT';
  return new ZvmError(code, error.message, { cause: error });
}
