import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { makeRequest, SiteCa } from '@tidemark/trust';
import { createServer, request } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { createHypervisorManager, type HypervisorServer, type InventoryChange, serveHypervisor } from '../index.js';
import { describeHypervisorManager } from '../testing/index.js';
import { makeTestingSite, makeTestingTls, type TestingSite } from './testing-site.js';

describeHypervisorManager('simulated, over HTTPS', async () => {
  const site = await makeTestingSite();
  const tls = await makeTestingTls(site.folder);
  const server = await serveHypervisor(site.hypervisor, { host: '127.0.0.1', port: 0, ...tls.server });
  return {
    manager: createHypervisorManager(`simulated:${server.url}`, tls.access),
    runningAppliances: async () => [...site.appliances.running.keys()],
    setHostConnected: (hostId, isConnected) => site.hypervisor.setHostConnected(hostId, isConnected),
    fileBytes: site.fileBytes,
    makeFile: site.makeFile,
    close: async () => {
      await server.close();
      await site.remove();
    },
  };
});

describe('simulated hypervisor over HTTPS', () => {
  let site: TestingSite;
  let server: HypervisorServer;
  let tls: Awaited<ReturnType<typeof makeTestingTls>>;
  let closeAlso: HypervisorServer | undefined;

  beforeEach(async () => {
    closeAlso = undefined;
    site = await makeTestingSite();
    tls = await makeTestingTls(site.folder);
    server = await serveHypervisor(site.hypervisor, { host: '127.0.0.1', port: 0, ...tls.server });
  });
  afterEach(async () => {
    await server.close();
    await closeAlso?.close();
    await site.remove();
  });

  it('a watch goes on when the manager comes back, and yields again', async () => {
    const manager = createHypervisorManager(`simulated:${server.url}`, tls.access);
    const stop = new AbortController();
    const changes = manager.watch(stop.signal)[Symbol.asyncIterator]();
    await changes.next();
    const next: Promise<IteratorResult<InventoryChange, unknown>> = changes.next();
    await server.close();
    await expect(manager.inventory()).rejects.toMatchObject({ code: 'HYPERVISOR_UNREACHABLE', isRetryable: true });
    const { port } = new URL(server.url);
    const again = await serveHypervisor(await site.reopen(), { host: '127.0.0.1', port: Number(port), ...tls.server });
    closeAlso = again;
    expect(await next).toMatchObject({ done: false, value: { revision: site.hypervisor.revision } });
    stop.abort();
  });

  it('is called over a kept connection, and once more where that was closed meanwhile', async () => {
    const requestsOn = new Map<Socket, number>();
    const closing = createServer({ key: tls.server.keyPem, cert: tls.server.certificatePem }, ({ socket }, response) => {
      const count = (requestsOn.get(socket) ?? 0) + 1;
      requestsOn.set(socket, count);
      if (count === 3) socket.destroy();
      else response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    });
    await new Promise<void>((resolve) => closing.listen(0, '127.0.0.1', resolve));
    try {
      const manager = createHypervisorManager(`simulated:https://127.0.0.1:${(closing.address() as AddressInfo).port}`, tls.access);
      for (let call = 0; call < 3; call++) await manager.powerOn('x.vm-1');
      expect([...requestsOn.values()]).toEqual([3, 1]);
    } finally {
      closing.closeAllConnections();
      closing.close();
    }
  });

  it('serves nobody without its credential, and says so', async () => {
    const stranger = createHypervisorManager(`simulated:${server.url}`, { ...tls.access, credential: 'guess' });
    await expect(stranger.inventory()).rejects.toMatchObject({ code: 'HYPERVISOR_REFUSED' });
    await expect(stranger.powerOff('x.vm-1', { isForced: true })).rejects.toMatchObject({ code: 'HYPERVISOR_REFUSED' });
  });

  it('gets no credential when it is not the manager, or its certificate has ended; both times are said', async () => {
    const other = await makeTestingTls(join(site.folder, 'other'));
    const access = { ...tls.access, caPem: other.access.caPem };
    await expect(createHypervisorManager(`simulated:${server.url}`, access).inventory()).rejects.toThrow(/its certificate .*is not of a CA that is trusted here/);
    const ca = await SiteCa.openOrMake(join(site.folder, 'ca'), { siteId: 'test', siteName: 'test' }, Date.now);
    const { pem, keyPem } = await makeRequest();
    const { certificatePem, notAfterMs } = await ca.issue(pem, { siteId: 'test', role: 'hypervisor', instanceId: 'main' }, ['127.0.0.1'], 1000);
    server.renew({ keyPem, certificatePem });
    await new Promise((resolve) => setTimeout(resolve, notAfterMs + 1000 - Date.now()));
    const end = new Date(notAfterMs).toISOString().replace('.000Z', 'Z');
    await expect(createHypervisorManager(`simulated:${server.url}`, tls.access).inventory()).rejects.toThrow(new RegExp(`its certificate ended at ${end}; this machine's clock says 20`));
    server.renew(tls.server);
    expect((await createHypervisorManager(`simulated:${server.url}`, tls.access).inventory()).hosts).toHaveLength(2);
  });

  it.each([
    ['POST', '/v1/vms', '{"name":', 400, 'HYPERVISOR_INVALID'],
    ['POST', '/v1/vms', '[]', 400, 'HYPERVISOR_INVALID'],
    ['POST', '/v1/vms', `{"name":"${'x'.repeat(1024 * 1024)}"}`, 400, 'HYPERVISOR_INVALID'],
    ['POST', '/v1/vms/x.vm-1/power', '{"powerState":"on"}', 400, 'HYPERVISOR_INVALID'],
    ['GET', '/v2/inventory', undefined, 404, 'HYPERVISOR_NOT_FOUND'],
    ['PUT', '/v1/vms', '{}', 404, 'HYPERVISOR_NOT_FOUND'],
  ])('%s %s with a wrong request is answered with a code', async (method, path, body, status, code) => {
    const answer = await new Promise<{ status: number | undefined; body: unknown }>((resolve, reject) => {
      const headers = { authorization: `Bearer ${tls.access.credential}` };
      const call = request(server.url + path, { method, headers, ca: [...tls.access.caPem()], agent: false }, (response) => {
        json(response).then((value) => resolve({ status: response.statusCode, body: value }), reject);
      });
      call.on('error', reject);
      call.end(body);
    });
    expect(answer).toMatchObject({ status, body: { code, message: expect.any(String) } });
  });
});
