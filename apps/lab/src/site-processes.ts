import { LabError } from './lab-error.js';
import { databaseUrlOf, type SiteIdentity } from './identity.js';
import { PORTS, type SiteLayout } from './layout.js';
import { inStartOrder, isAlive, type ProcessRecord, ProcessRegistry, type ProcessSpec } from './process/process-registry.js';
import { ProcessRunner, waitUntilAnswers } from './process/process-runner.js';
import { settleAll } from './settle-all.js';
import { assertExternalDatabase, assertExternalNats } from './servers/external.js';
import { hypervisorSpec, probeHypervisor } from './servers/hypervisor.js';
import { natsSpec, probeNats } from './servers/nats.js';
import { ensureDatabase, postgresSpec, probePostgres, removeStaleLock } from './servers/postgres.js';
import { initTrust, zvmSpec } from './servers/zvm.js';
import { probeZvm } from './rest/probe-zvm.js';
import { fromAppliance } from './rest/vra-https.js';
import { addVba, isVbaConnected, VBA_NAME } from './servers/vba.js';
import type { SiteApi } from './rest/site-api.js';
import { until } from './until.js';

/** The processes of one site. */
export class SiteProcesses {
  readonly runner: ProcessRunner;

  constructor(
    readonly site: SiteLayout,
    private readonly identity: SiteIdentity,
  ) {
    this.runner = new ProcessRunner(new ProcessRegistry(site.runFolder));
  }

  async list(): Promise<ProcessRecord[]> {
    return inStartOrder(await this.runner.registry.list());
  }

  /** Starts NATS, PostgreSQL and the hypervisor manager where they do not run, and waits until they answer. */
  async startServers(): Promise<void> {
    const { site, identity } = this;
    // The servers need certificates before they start, the ZVM needs the servers: its own program makes them first.
    await initTrust(site, this.#zvmSpec());
    const starts: Promise<void>[] = [hypervisorSpec(site, identity).then((spec) => this.#startAndWait(spec))];
    starts.push(identity.externalNatsUrl === undefined ? this.#startNats() : assertExternalNats(site, identity.externalNatsUrl));
    starts.push(identity.externalDatabaseUrl === undefined ? this.#startPostgres() : assertExternalDatabase(site, identity.externalDatabaseUrl));
    await settleAll(starts);
  }

  async #startNats(): Promise<void> {
    await this.#startAndWait(natsSpec(this.site));
  }

  async #startPostgres(): Promise<void> {
    await this.#startAndWait(await postgresSpec(this.site, this.identity.databasePassword));
    await ensureDatabase(this.site, this.identity.databasePassword);
  }

  async startZvm(): Promise<void> {
    await this.#startAndWait(this.#zvmSpec());
  }

  #zvmSpec(): ProcessSpec {
    const { site, identity } = this;
    return zvmSpec(site, {
      siteId: identity.siteId,
      siteName: `site-${site.name}`,
      natsUrl: identity.externalNatsUrl ?? `tls://${site.managerAddress}:${PORTS.nats}`,
      databaseUrl: databaseUrlOf(site, identity),
    });
  }

  /** Adds a backup appliance to the site and starts it, unless it has one. Resolves when its ZVM hears it. */
  async addVba(api: SiteApi): Promise<void> {
    const { site, identity } = this;
    if ((await this.runner.registry.get(VBA_NAME)) !== undefined) return void (await this.start(VBA_NAME));
    await this.#startAndWait(await addVba(site, api, { siteId: identity.siteId, natsUrl: identity.externalNatsUrl ?? `tls://${site.managerAddress}:${PORTS.nats}` }));
    await until('the VBA is heard', async () => ((await isVbaConnected(api)) ? true : undefined), { timeoutMs: 60_000 });
  }

  async #startAndWait(spec: Parameters<ProcessRunner['start']>[0]): Promise<void> {
    if (spec.name === 'postgres') await removeStaleLock(this.site);
    const record = await this.runner.start(spec);
    await waitUntilAnswers(record, () => this.#probe(record.name));
  }

  /** SIGKILL. @returns the names of those that ran. Unknown process: LAB_UNKNOWN naming those that exist. */
  async kill(name: string | undefined): Promise<string[]> {
    const alive = (await this.#chosen(name)).filter(isAlive);
    await Promise.all(alive.map((record) => this.runner.kill(record)));
    return alive.map((record) => record.name);
  }

  /** Starts again what is dead, as it was started before, and waits until it answers. @returns the names of those started. */
  async start(name: string | undefined): Promise<string[]> {
    const dead = (await this.#chosen(name)).filter((record) => !isAlive(record));
    await this.#startWave(dead.filter((record) => record.name !== 'zvm'));
    await this.#startWave(dead.filter((record) => record.name === 'zvm'));
    return dead.map((record) => record.name);
  }

  async #startWave(records: readonly ProcessRecord[]): Promise<void> {
    await settleAll(records.map(({ pid: _pid, startTime: _startTime, ...spec }) => this.#startAndWait(spec)));
  }

  async #chosen(name: string | undefined): Promise<ProcessRecord[]> {
    const records = await this.list();
    if (name === undefined) return records;
    const chosen = records.filter((record) => record.name === name);
    if (chosen.length > 0) return chosen;
    throw new LabError('LAB_UNKNOWN', `site ${this.site.name} has no process ${name}; there are: ${records.map((record) => record.name).join(', ')}`);
  }

  async #probe(name: string): Promise<void> {
    const { site, identity } = this;
    const host = site.hosts.find((candidate) => candidate.vraName === name);
    if (host) await fromAppliance(site, host.address, '/health');
    else if (name === VBA_NAME) await fromAppliance(site, site.vbaAddress, '/health');
    else if (name === 'nats') await probeNats(site);
    else if (name === 'postgres') await probePostgres(site, identity.databasePassword);
    else if (name === 'hypervisor') await probeHypervisor(site);
    else if (name === 'zvm') await probeZvm(site.restUrl, { isDatabaseAsked: await this.#isDatabaseAlive() });
  }

  /** A ZVM started beside a dead database is up as far as it can be. */
  async #isDatabaseAlive(): Promise<boolean> {
    if (this.identity.externalDatabaseUrl !== undefined) return true;
    const record = await this.runner.registry.get('postgres');
    return record !== undefined && isAlive(record);
  }
}
