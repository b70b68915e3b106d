import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import 'reflect-metadata';
import { IsInt, Min } from 'class-validator';
import { Logger } from '@nestjs/common';
import type { Answer } from '@tidemark/contracts';
import { makeRequest } from '@tidemark/trust';
import { createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { SecuredNats } from '../testing/secured-nats.js';
import { brokerTls, type BusAccess, ControlBus, ControlRefusal, vraRights } from '../index.js';
import { connectBroker } from './connect-broker.js';

const ANY: Answer<object> = { read: (value) => value as object };

class QuestionV1 {
  @IsInt() @Min(1) size!: number;
}

async function until(what: string, probe: () => boolean): Promise<void> {
  for (let round = 0; round < 400; round += 1) {
    if (probe()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`not within 10 s: ${what}`);
}

async function eventually<T>(what: string, attempt: () => Promise<T>): Promise<T> {
  for (let round = 0; ; round += 1) {
    try {
      return await attempt();
    } catch (cause) {
      if (round > 100) throw new Error(`not within 10 s: ${what}`, { cause });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const SITE = 'aaaaaaaa-0000-4000-8000-000000000000';
const PEER = 'bbbbbbbb-0000-4000-8000-000000000000';
const toVra = `tidemark.v1.${SITE}.vra.7.control.question.ask`;
const toZvm = `tidemark.v1.${SITE}.zvm.peer-${PEER}.control.question.ask`;
const events = `tidemark.v1.${SITE}.vra.7.event`;

let nats: SecuredNats;
const buses: ControlBus[] = [];

const bus = (url: string, name: string, access: BusAccess): ControlBus => {
  const made = new ControlBus({ url, name, access });
  buses.push(made);
  return made;
};
const zvm = async (): Promise<ControlBus> => bus(nats.url, 'zvm', await nats.zvm());
const vra = async (): Promise<ControlBus> => bus(nats.url, 'vra 7', await nats.vra('7'));
const peer = async (): Promise<ControlBus> => bus(nats.peerUrl, 'peer', await nats.peer(PEER));

beforeEach(async () => {
  Logger.overrideLogger(false);
  nats = await SecuredNats.make({ siteId: SITE });
});

afterEach(async () => {
  await Promise.all(buses.splice(0).map((each) => each.close()));
  await nats.close();
});

describe('control bus', () => {
  it('asks and answers, locally and through the listener for peers', async () => {
    await nats.start();
    const [manager, appliance, site] = [await zvm(), await vra(), await peer()];
    appliance.respond(toVra, QuestionV1, ({ size }) => ({ doubled: 2 * size }));
    manager.respond(toZvm, QuestionV1, ({ size }, subject) => ({ tripled: 3 * size, subject }));
    await until('all are connected', () => manager.isConnected && appliance.isConnected && site.isConnected);
    await expect(manager.request(toVra, { size: 4 }, ANY)).resolves.toEqual({ doubled: 8 });
    await expect(site.request(toZvm, { size: 5 }, ANY)).resolves.toEqual({ tripled: 15, subject: toZvm });
  });

  it('refuses what is not valid, says why, and passes refusals on with their code', async () => {
    await nats.start();
    const [manager, appliance] = [await zvm(), await vra()];
    appliance.respond(toVra, QuestionV1, () => {
      throw new ControlRefusal('QUESTION_ASKED', 'asked before');
    });
    await until('connected', () => manager.isConnected && appliance.isConnected);
    await expect(manager.request(toVra, { size: 0 }, ANY)).rejects.toMatchObject({ code: 'CONTROL_REFUSED', remoteCode: 'CONTROL_INVALID', message: 'size must not be less than 1' });
    await expect(manager.request(toVra, { size: 1 }, ANY)).rejects.toMatchObject({ remoteCode: 'QUESTION_ASKED', message: 'asked before' });
    await expect(manager.request(`${toVra}.nobody`, {}, ANY)).rejects.toMatchObject({ code: 'CONTROL_UNREACHABLE', isRetryable: true });
  });

  it('starts without its broker, and serves again after the broker was killed and came back', async () => {
    const [manager, appliance] = [await zvm(), await vra()];
    appliance.respond(toVra, QuestionV1, ({ size }) => ({ size }));
    await expect(manager.request(toVra, { size: 1 }, ANY)).rejects.toMatchObject({ code: 'CONTROL_UNREACHABLE' });
    for (let round = 0; round < 2; round += 1) {
      await nats.start();
      await until('connected', () => manager.isConnected && appliance.isConnected);
      await until('it answers', () => manager.problem === undefined);
      await expect(manager.request(toVra, { size: 3 }, ANY)).resolves.toEqual({ size: 3 });
      await nats.kill();
      await until('the loss is seen', () => !manager.isConnected && !appliance.isConnected);
    }
  });

  it('carries requests and answers larger than the broker takes in one message', async () => {
    await nats.start();
    const [manager, site] = [await zvm(), await peer()];
    const list = Array.from({ length: 60_000 }, (_, index) => ({ checkpointId: index, vmIds: ['b65ea275-05ec-4799-8699-73c96bc92609.vm-3'], tag: null, kind: 'automatic', atMs: 1795314826241 + index }));
    expect(JSON.stringify(list).length).toBeGreaterThan(4 * 1024 * 1024); // the server's own limit here
    manager.respond(toZvm, null, (message: { list: unknown }) => ({ list: message.list }));
    await until('both are connected', () => manager.isConnected && site.isConnected);
    await expect(site.request(toZvm, { list }, ANY)).resolves.toEqual({ list });
  });

  it('drops an event that is not JSON, and keeps listening', async () => {
    await nats.start();
    const [manager, appliance] = [await zvm(), await vra()];
    const seen: unknown[] = [];
    manager.listen(`${events}.*`, (message) => {
      if (message === 7) throw new Error('a handler that fails');
      seen.push(message);
    });
    await until('connected', () => manager.isConnected && appliance.isConnected);
    appliance.publish(`${events}.a`, 7);
    appliance.publish(`${events}.a`, { n: 1 });
    await until('the event is there', () => seen.length === 1);
    expect(seen).toEqual([{ n: 1 }]);
  });
});

describe('the trust of a control bus', () => {
  it('renewed credentials are used at once, and nothing that was subscribed is lost', async () => {
    await nats.start();
    const manager = await zvm();
    let text = await nats.user(vraRights(SITE, '7'));
    let renewed: () => void = () => undefined;
    const access: BusAccess = { ...(await nats.vra('7')), credentials: () => text, onChange: (listener) => (renewed = listener) };
    const appliance = bus(nats.url, 'vra 7', access);
    appliance.respond(toVra, QuestionV1, ({ size }) => ({ size }));
    await until('connected', () => manager.isConnected && appliance.isConnected);
    const old = userOf(text);
    text = await nats.user(vraRights(SITE, '7'));
    renewed();
    // The old user is void from now on: what answers can only be the new one.
    await nats.push(await nats.authority.revoke(old, Date.now()));
    await eventually('it answers as the new user', () => manager.request(toVra, { size: 3 }, ANY));
    expect(appliance.problem).toBeUndefined();
  });

  it('a revoked user is cut off at once, says so, and stays out', async () => {
    await nats.start();
    const access = await nats.vra('7');
    const appliance = bus(nats.url, 'vra 7', access);
    await until('connected', () => appliance.isConnected);
    await nats.push(await nats.authority.revoke(userOf(access.credentials()), Date.now()));
    await until('it is cut off', () => !appliance.isConnected);
    await until('it says so', () => /refuses this user/.test(appliance.problem ?? ''));
  });

  it('says that its credentials have expired, and when', async () => {
    await nats.start();
    const notAfterMs = Math.floor(Date.now() / 1000) * 1000 + 2000;
    const appliance = bus(nats.url, 'vra 7', await nats.access({ kind: 'vra', vraId: '7' }, vraRights(SITE, '7'), notAfterMs));
    await until('it was connected', () => appliance.isConnected);
    await until('it is cut off', () => (appliance.problem ?? '').includes(`expired at ${new Date(notAfterMs).toISOString()}`));
  });

  it.each(['standard', 'websocket'] as const)('does not believe a broker of another CA, or of another site (%s)', async (listener) => {
    await nats.start();
    const stranger = await SecuredNats.make({ siteId: PEER });
    const good = listener === 'standard' ? await nats.vra('7') : await nats.peer(PEER);
    const url = listener === 'standard' ? nats.url : nats.peerUrl;
    const unknownCa = bus(url, 'unknown CA', { ...good, tls: () => brokerTls(PEER, stranger.ca.trustedPem) });
    const noCa = bus(url, 'system CAs', { ...good, tls: () => ({}) });
    await until('both say why', () => [unknownCa, noCa].every(({ problem }) => /is not of a CA that is trusted here/.test(problem ?? '')));
    await stranger.close();
  });

  it('does not believe a component of its own site that is no broker', async () => {
    const request = await makeRequest();
    const { certificatePem } = await nats.ca.issue(request.pem, { siteId: SITE, role: 'vra', instanceId: '7' }, ['127.0.0.1']);
    const server = createTlsServer({ key: request.keyPem, cert: certificatePem, minVersion: 'TLSv1.3' }).listen(nats.peerPort, '127.0.0.1');
    const fooled = bus(nats.peerUrl, 'fooled', await nats.peer(PEER));
    await until('it says why', () => /role should be nats/.test(fooled.problem ?? ''));
    server.close();
  });

  it('sends nothing to a server without TLS, and is not built for an address without', async () => {
    const sent: string[] = [];
    const server = createServer((socket) => {
      socket.on('error', () => undefined).on('data', (bytes: Buffer) => sent.push(bytes.toString()));
      socket.write(`INFO ${JSON.stringify({ server_id: 'x', version: '2.9.10', proto: 1, headers: true, max_payload: 1048576, nonce: 'abc' })}\r\n`);
    }).listen(nats.port, '127.0.0.1');
    const appliance = bus(nats.url, 'vra 7', await nats.vra('7'));
    await until('it says why', () => /nothing is sent in the clear/.test(appliance.problem ?? ''));
    expect(sent).toEqual([]);
    server.close();
    const access = await nats.peer(PEER);
    expect(() => new ControlBus({ url: 'ws://127.0.0.1:9081', name: 'peer', access })).toThrow(/TLS only/);
  });

  it('answers nowhere but in the inbox of who asked', async () => {
    await nats.start();
    const [manager, appliance] = [await zvm(), await vra()];
    const commands: unknown[] = [];
    appliance.respond(toVra, null, (message) => commands.push(message));
    manager.respond(toZvm, null, () => ({ isOk: true }));
    const raw = await connectBroker(nats.peerUrl, 'peer', await nats.peer(PEER));
    await until('all are connected', () => manager.isConnected && appliance.isConnected);
    // A deputy that is allowed to command VRAs must not do it for a peer that names a command as its inbox.
    raw.publish(toZvm, '{}', { reply: toVra });
    raw.publish(toZvm, '{}', { reply: '_INBOX.zvm-main.guess.1' });
    const answered = await raw.request(toZvm, '{}', { timeout: 5000 });
    expect(answered.json()).toMatchObject({ isOk: true });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(commands).toEqual([]);
    await raw.close();
  });
});

const userOf = (text: string): string => {
  const claims = JSON.parse(Buffer.from((/JWT-----\s*(\S+)/.exec(text)?.[1] ?? '').split('.')[1] ?? '', 'base64url').toString()) as { sub: string };
  return claims.sub;
};
