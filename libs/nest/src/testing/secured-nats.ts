import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inboxNameOf, type Speaker } from '@tidemark/contracts';
import { credentials, makeNatsKey, makeRequest, NatsAuthority, SiteCa } from '@tidemark/trust';
import type { BusAccess } from '../bus/bus-access.js';
import { connectBroker } from '../bus/connect-broker.js';
import { brokerTls } from '../trust/broker-access.js';
import { natsConfiguration } from '../trust/nats-configuration.js';
import { type NatsRights, pairingRights, peerRights, systemRights, vraRights, zvmRights } from '../trust/nats-grants.js';
import { freePort } from './free-port.js';

const START_MS = 20_000;
const HOUR_MS = 3_600_000;

/** A site's NATS server as in production (TLS, operator, users) in a temporary folder on free ports of 127.0.0.1. For tests: `await SecuredNats.start()`. */
export class SecuredNats {
  #process: ChildProcess | undefined;

  private constructor(
    readonly siteId: string,
    readonly authority: NatsAuthority,
    readonly ca: SiteCa,
    readonly port: number,
    readonly peerPort: number,
    private readonly folder: string,
  ) {}

  static async start({ siteId = randomUUID() }: { readonly siteId?: string } = {}): Promise<SecuredNats> {
    const nats = await SecuredNats.make({ siteId });
    await nats.start();
    return nats;
  }

  /** Everything but the server. */
  static async make({ siteId = randomUUID() }: { readonly siteId?: string } = {}): Promise<SecuredNats> {
    const folder = await mkdtemp(join(tmpdir(), 'tidemark-nats-'));
    const site = { siteId, siteName: 'test' };
    const ca = await SiteCa.openOrMake(join(folder, 'ca'), site, Date.now);
    const authority = await NatsAuthority.openOrMake(join(folder, 'authority'), site);
    const [certificatePath, keyPath] = [join(folder, 'server.pem'), join(folder, 'server-key.pem')];
    const [port, peerPort] = [await freePort(), await freePort()];
    const configuration = natsConfiguration({
      serverName: 'test', host: '127.0.0.1', port, peerHost: '127.0.0.1', peerPort, certificatePath, keyPath, authority: authority.serverConfiguration({ resolverFolder: join(folder, 'jwt') }),
    });
    await writeFile(join(folder, 'nats.conf'), configuration);
    const nats = new SecuredNats(siteId, authority, ca, port, peerPort, folder);
    await nats.renewCertificate();
    return nats;
  }

  /** Of the CA that signs now; the server shows it from its next start on. */
  async renewCertificate(): Promise<void> {
    const request = await makeRequest();
    const { certificatePem } = await this.ca.issue(request.pem, { siteId: this.siteId, role: 'nats', instanceId: 'main' }, ['127.0.0.1']);
    await writeFile(join(this.folder, 'server.pem'), certificatePem);
    await writeFile(join(this.folder, 'server-key.pem'), request.keyPem, { mode: 0o600 });
  }

  get url(): string {
    return `tls://127.0.0.1:${this.port}`;
  }

  get peerUrl(): string {
    return `wss://127.0.0.1:${this.peerPort}`;
  }

  async start(): Promise<void> {
    const child = spawn('nats-server', ['-c', join(this.folder, 'nats.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (bytes: Buffer) => {
      said = (said + bytes.toString()).slice(-4000);
    });
    this.#process = child;
    for (const port of [this.port, this.peerPort]) await untilListening(port, () => child.exitCode === null, () => said);
  }

  /** SIGKILL; {@link start} brings it back. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async close(): Promise<void> {
    await this.kill();
    await rm(this.folder, { recursive: true, force: true });
  }

  zvm(): Promise<BusAccess> {
    return this.access({ kind: 'zvm' }, zvmRights(this.siteId));
  }

  vra(vraId: string): Promise<BusAccess> {
    return this.access({ kind: 'vra', vraId }, vraRights(this.siteId, vraId));
  }

  peer(siteId: string): Promise<BusAccess> {
    return this.access({ kind: 'peer', siteId }, peerRights(this.siteId, siteId));
  }

  pairing(tokenId: string): Promise<BusAccess> {
    return this.access({ kind: 'pairing', tokenId }, pairingRights(this.siteId, tokenId));
  }

  /** A new user with these rights; a test that looks at refusals gives it others than it should have. */
  async access(speaker: Speaker, rights: NatsRights, notAfterMs = Date.now() + HOUR_MS): Promise<BusAccess> {
    const text = await this.user(rights, notAfterMs);
    return { inboxName: inboxNameOf(speaker), credentials: () => text, tls: () => brokerTls(this.siteId, this.ca.trustedPem) };
  }

  /** Hands claims of the account to the server, as a ZVM does after a revocation. */
  async push(accountJwt: string): Promise<void> {
    const text = await this.systemUser(systemRights());
    const connection = await connectBroker(this.url, 'system', { inboxName: 'zvm-main', credentials: () => text, tls: () => brokerTls(this.siteId, this.ca.trustedPem) });
    const answer = await connection.request('$SYS.REQ.CLAIMS.UPDATE', accountJwt, { timeout: 5000 });
    await connection.close();
    const { error } = answer.json<{ error?: { description: string } }>();
    if (error) throw new Error(`the server refuses the account's claims: ${error.description}`);
  }

  async systemUser(rights: NatsRights): Promise<string> {
    const key = makeNatsKey();
    return credentials(await this.authority.systemUser(key.publicKey, { ...rights, notAfterMs: Date.now() + HOUR_MS }), key.seed);
  }

  /** Text of the credentials of a new user. */
  async user(rights: NatsRights, notAfterMs = Date.now() + HOUR_MS): Promise<string> {
    const key = makeNatsKey();
    return credentials(await this.authority.user(key.publicKey, { ...rights, notAfterMs }), key.seed);
  }
}

async function untilListening(port: number, isRunning: () => boolean, log: () => string): Promise<void> {
  const until = Date.now() + START_MS;
  for (;;) {
    if (!isRunning()) throw new Error(`nats-server ended: ${log()}`);
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('error', () => resolve(false)).once('connect', () => {
        socket.destroy();
        resolve(true);
      });
    });
    if (isUp) return;
    if (Date.now() > until) throw new Error(`nats-server does not listen on ${port}: ${log()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
