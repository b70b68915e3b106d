import { FakeDataPlane } from './fake-data-plane.js';
import type { RestClient } from './rest-client.js';
import { startPostgres, type TestServer } from './servers.js';
import { TestSite } from './test-site.js';

/** One whole site and its administrator, for tests of what one ZVM does by itself. */
export interface OneSite {
  readonly site: TestSite;
  readonly postgres: TestServer;
  readonly admin: RestClient;
  close(): Promise<void>;
}

export async function openSite(environment: Readonly<Record<string, string>> = {}): Promise<OneSite> {
  const postgres = await startPostgres();
  const plane = new FakeDataPlane();
  const site = await TestSite.open({ name: 'a', postgres, plane, environment });
  await site.startZvm();
  return {
    site, postgres, admin: await site.client(),
    close: async () => {
      await site.close();
      await plane.close();
      await postgres.close();
    },
  };
}
