import { natsConfiguration, zvmRights } from '@tidemark/nest';
import { type CaPhase, ComponentIdentity, credentials, isThere, makeNatsKey, makeRequest, NatsAuthority, type Role, SiteCa, TrustBundle, writePublic } from '@tidemark/trust';
import { X509Certificate } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { ZvmConfig } from '../config.js';
import { Removals } from './removals.js';

export type TrustConfig = Pick<ZvmConfig, 'siteId' | 'siteName' | 'stateDir' | 'address' | 'restHost' | 'natsUrl' | 'natsPeerPort' | 'natsPidFile'>;

/** Components whose keys the ZVM makes and keeps itself, each in a folder of its role. All have the instance id `main`. */
export type OwnRole = Exclude<Role, 'vra' | 'vba'>;
const OWN_ROLES: readonly OwnRole[] = ['zvm', 'nats', 'postgres', 'hypervisor'];
const MAIN = 'main';
const NATS_PORT = 4222;

export const trustFolder = ({ stateDir }: Pick<TrustConfig, 'stateDir'>): string => join(stateDir, 'trust');

/** Writes the certificate of a role, or what it is shown beside, and tells of it. */
export type Renewing = (role: OwnRole, write: () => Promise<void>) => Promise<void>;
const UNTOLD: Renewing = async (_role, write) => await write();

/** Addresses for certificates of servers beside the ZVM and NATS, where their owner asked for one. */
export type ServerHosts = Partial<Record<'postgres' | 'hypervisor', readonly string[]>>;

/**
 * All that a site's ZVM signs with and shows: `trust/{ca,nats-authority,zvm,nats,…}/current/…` below its state folder, and `trust/ca.pem`, a copy of the
 * CA's certificates for whoever has to believe this site. Opening it makes what is missing and renews what is due, so a second time does nothing.
 */
export class SiteTrust {
  #lastRenewal: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly config: TrustConfig,
    private readonly nowMs: () => number,
    readonly ca: SiteCa,
    readonly nats: NatsAuthority,
    readonly removals: Removals,
    private readonly own: Map<OwnRole, ComponentIdentity>,
  ) {}

  /** Throws TrustErrors: files that others can read or that do not belong together, a CA whose time is over. */
  static async open(config: TrustConfig, nowMs: () => number, servers: ServerHosts = {}): Promise<SiteTrust> {
    const folder = trustFolder(config);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const site = { siteId: config.siteId, siteName: config.siteName };
    const ca = await SiteCa.openOrMake(join(folder, 'ca'), site, nowMs);
    // It ended while this program was away, in the middle of a rotation: it signs nothing any more, and the next one is there.
    if (nowMs() >= ca.notAfterMs) await ca.switchToNext();
    const nats = await NatsAuthority.openOrMake(join(folder, 'nats-authority'), site);
    const trust = new SiteTrust(config, nowMs, ca, nats, await Removals.open(join(folder, 'removals')), new Map());
    await trust.publish();
    for (const role of OWN_ROLES) await trust.#keep(role, servers, UNTOLD);
    await trust.#writeNatsConfiguration();
    return trust;
  }

  /** `trust/nats/nats.conf`: all that nats-server is started with. It holds no key of the authority. */
  async #writeNatsConfiguration(): Promise<void> {
    const { siteName, address, natsUrl, natsPeerPort, natsPidFile } = this.config;
    const { hostname, port } = new URL(natsUrl);
    const folder = join(trustFolder(this.config), 'nats');
    const text = natsConfiguration({
      serverName: siteName, host: bareHost(hostname), port: port === '' ? NATS_PORT : Number(port), peerHost: address, peerPort: natsPeerPort, pidFile: natsPidFile,
      certificatePath: this.pathOf('nats', 'certificate.pem'), keyPath: this.pathOf('nats', 'key.pem'), authority: this.nats.serverConfiguration({ resolverFolder: join(folder, 'jwt') }),
    });
    await writePublic(join(folder, 'nats.conf'), text);
  }

  /** The ZVM's own. */
  get zvm(): ComponentIdentity {
    const zvm = this.own.get('zvm');
    if (!zvm) throw new Error('opened without an identity of the ZVM');
    return zvm;
  }

  identities(): ReadonlyMap<OwnRole, ComponentIdentity> {
    return this.own;
  }

  /** Who is believed as a component of this site. */
  ownSite(): { readonly siteId: string; readonly caPem: readonly string[] } {
    return { siteId: this.config.siteId, caPem: this.ca.trustedPem };
  }

  bundle(): TrustBundle {
    return new TrustBundle([this.ownSite()]);
  }

  get phase(): CaPhase {
    return this.ca.phase;
  }

  /** Path of a file that nats-server, PostgreSQL or a hypervisor manager reads; it stays the same when the certificate is renewed. */
  pathOf(role: OwnRole, name: 'key.pem' | 'certificate.pem' | 'ca.pem'): string {
    return join(trustFolder(this.config), role, 'current', name);
  }

  /** Copies what is trusted to where others read it: `trust/ca.pem`. */
  async publish(): Promise<void> {
    await writePublic(join(trustFolder(this.config), 'ca.pem'), this.ca.trustedPem.join(''));
  }

  /** Renews what is due: two thirds of a life, another CA that signs, another address. @returns the roles whose certificate or CA changed. */
  async renewDue(renewing: Renewing = UNTOLD): Promise<OwnRole[]> {
    // A rotation asks besides the timer: what the one has renewed is not due for the other.
    const mine = this.#lastRenewal.then(() => this.#renewDue(renewing));
    this.#lastRenewal = mine.catch(() => undefined);
    return await mine;
  }

  async #renewDue(renewing: Renewing): Promise<OwnRole[]> {
    const renewed: OwnRole[] = [];
    for (const role of this.own.keys()) if (await this.#keep(role, {}, renewing)) renewed.push(role);
    return renewed;
  }

  /** @returns whether something was made or replaced. */
  async #keep(role: OwnRole, servers: ServerHosts, renewing: Renewing): Promise<boolean> {
    const folder = join(trustFolder(this.config), role);
    const kept = this.own.get(role) ?? (await ComponentIdentity.open(folder));
    if (kept) this.own.set(role, kept);
    const hosts = this.#hostsOf(role, servers) ?? (kept ? hostsIn(kept) : undefined);
    if (hosts === undefined) return false;
    if (!kept) {
      await renewing(role, async () => void this.own.set(role, await ComponentIdentity.store(folder, await this.#parts(role, hosts))));
      return true;
    }
    if (this.#isLeafGood(kept, hosts)) {
      if (kept.current().caPem.join('') === this.ca.trustedPem.join('')) return false;
      await renewing(role, async () => await kept.replace({ ...kept.current(), caPem: this.ca.trustedPem }));
      return true;
    }
    await renewing(role, async () => await kept.replace(await this.#parts(role, hosts)));
    return true;
  }

  /** A certificate that begins later than now was made while the clock was ahead. */
  #isLeafGood(kept: ComponentIdentity, hosts: readonly string[]): boolean {
    const nowMs = this.nowMs();
    const { certificatePem, notBeforeMs } = kept.current();
    if (kept.isRenewalDue(nowMs) || nowMs < notBeforeMs) return false;
    const leaf = new X509Certificate(certificatePem);
    return leaf.verify(new X509Certificate(this.ca.signerPem).publicKey) && hosts.every((host) => coversHost(leaf, host));
  }

  async #parts(role: OwnRole, hosts: readonly string[]): Promise<Parameters<typeof ComponentIdentity.store>[1]> {
    const { pem, keyPem } = await makeRequest();
    const { siteId } = this.config;
    const { certificatePem, notAfterMs } = await this.ca.issue(pem, { siteId, role, instanceId: MAIN }, hosts);
    const parts = { keyPem, certificatePem, caPem: this.ca.trustedPem };
    if (role !== 'zvm') return parts;
    const user = makeNatsKey();
    return { ...parts, natsCredentials: credentials(await this.nats.user(user.publicKey, { ...zvmRights(siteId), notAfterMs }), user.seed) };
  }

  /** Undefined: nobody asked for a certificate of this role now. */
  #hostsOf(role: OwnRole, servers: ServerHosts): readonly string[] | undefined {
    const { address, restHost, natsUrl } = this.config;
    switch (role) {
      case 'zvm': return unique([address, restHost, 'localhost', '127.0.0.1']);
      case 'nats': return unique([address, bareHost(new URL(natsUrl).hostname)]);
      case 'postgres': case 'hypervisor': return servers[role];
    }
  }
}

const bareHost = (host: string): string => host.replace(/^\[|\]$/g, '');
const ANY_ADDRESS: readonly string[] = ['0.0.0.0', '::'];
const unique = (hosts: readonly string[]): string[] => [...new Set(hosts)].filter((host) => !ANY_ADDRESS.includes(host));

export const coversHost = (leaf: X509Certificate, host: string): boolean => (isIP(host) === 0 ? leaf.checkHost(host) : leaf.checkIP(host)) !== undefined;

function hostsIn(identity: ComponentIdentity): string[] {
  const names = new X509Certificate(identity.current().certificatePem).subjectAltName ?? '';
  return names.split(', ').flatMap((name) => /^(?:DNS|IP Address):(.+)$/.exec(name)?.[1] ?? []);
}

/** Whether `zvm init` or a start has been here. */
export const hasTrust = (config: Pick<TrustConfig, 'stateDir'>): Promise<boolean> => isThere(join(trustFolder(config), 'ca', 'current'));
