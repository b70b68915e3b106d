import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createHypervisorManager, type HypervisorServer, type InventoryChange, serveHypervisor } from '../index.js';
import { describeHypervisorManager } from '../testing/index.js';
import { makeTestingSite, type TestingSite } from './testing-site.js';

describeHypervisorManager('simulated, over HTTP', async () => {
  const site = await makeTestingSite();
  const server = await serveHypervisor(site.hypervisor, { host: '127.0.0.1', port: 0 });
  return {
    manager: createHypervisorManager(`simulated:${server.url}`),
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

describe('simulated hypervisor over HTTP', () => {
  let site: TestingSite;
  let server: HypervisorServer;
  let closeAlso: HypervisorServer | undefined;

  beforeEach(async () => {
    closeAlso = undefined;
    site = await makeTestingSite();
    server = await serveHypervisor(site.hypervisor, { host: '127.0.0.1', port: 0 });
  });
  afterEach(async () => {
    await server.close();
    await closeAlso?.close();
    await site.remove();
  });

  it('a watch goes on when the manager comes back, and yields again', async () => {
    const manager = createHypervisorManager(`simulated:${server.url}`);
    const stop = new AbortController();
    const changes = manager.watch(stop.signal)[Symbol.asyncIterator]();
    await changes.next();
    const next: Promise<IteratorResult<InventoryChange, unknown>> = changes.next();
    await server.close();
    await expect(manager.inventory()).rejects.toMatchObject({ code: 'HYPERVISOR_UNREACHABLE', isRetryable: true });
    const { port } = new URL(server.url);
    const again = await serveHypervisor(await site.reopen(), { host: '127.0.0.1', port: Number(port) });
    closeAlso = again;
    expect(await next).toMatchObject({ done: false, value: { revision: site.hypervisor.revision } });
    stop.abort();
  });

  it.each([
    ['POST', '/v1/vms', '{"name":', 400, 'HYPERVISOR_INVALID'],
    ['POST', '/v1/vms', '[]', 400, 'HYPERVISOR_INVALID'],
    ['POST', '/v1/vms', `{"name":"${'x'.repeat(1024 * 1024)}"}`, 400, 'HYPERVISOR_INVALID'],
    ['POST', '/v1/vms/x.vm-1/power', '{"powerState":"on"}', 400, 'HYPERVISOR_INVALID'],
    ['GET', '/v2/inventory', undefined, 404, 'HYPERVISOR_NOT_FOUND'],
    ['PUT', '/v1/vms', '{}', 404, 'HYPERVISOR_NOT_FOUND'],
  ])('%s %s with a wrong request is answered with a code', async (method, path, body, status, code) => {
    const response = await fetch(server.url + path, { method, ...(body === undefined ? {} : { body }) });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ code, message: expect.any(String) });
  });
});
