import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { VpgSettingsApi } from '@tidemark/contracts';
import { FakeDataPlane } from './testing/fake-data-plane.js';
import { RestClient } from './testing/rest-client.js';
import { startPostgres, type TestServer } from './testing/servers.js';
import { TestSite } from './testing/test-site.js';

const SECTIONS = ['basic', 'bootgroup', 'scripting', 'recovery', 'journal', 'scratch', 'networks', 'ltr'] as const;

/** What arrives from scripts and strangers at a real ZVM: one site is enough, nothing is replicated. */
describe('bodies and paths of REST requests', () => {
  let postgres: TestServer | undefined;
  let plane: FakeDataPlane | undefined;
  let site: TestSite | undefined;
  let client: RestClient;
  let vmId: string;

  beforeAll(async () => {
    postgres = await startPostgres();
    plane = new FakeDataPlane();
    site = await TestSite.open({ name: 'a', postgres, plane, vmNames: ['web'] });
    await site.startZvm();
    client = await site.client();
    const vms = await client.ok<{ VmIdentifier: string }[]>('GET', `/virtualizationsites/${site.config.siteId}/vms`);
    vmId = vms[0]?.VmIdentifier ?? '';
  }, 60_000);
  afterAll(async () => {
    await site?.close();
    await plane?.close();
    await postgres?.close();
  });

  const draft = async (): Promise<string> => {
    const id = await client.ok<string>('POST', '/vpgSettings', { Basic: { Name: 'kept' } });
    await client.ok('POST', `/vpgSettings/${id}/vms`, { VmIdentifier: vmId });
    return id;
  };
  const settings = (id: string): Promise<VpgSettingsApi> => client.ok('GET', `/vpgSettings/${id}`);

  it('what GET shows of a draft, its PUT takes, and the draft stays as it was', async () => {
    const id = await draft();
    const before = await settings(id);
    const vm = `/vms/${vmId}`;
    const { Volumes, Nics } = await client.ok<{ Volumes: { VolumeIdentifier: string }[]; Nics: { NicIdentifier: string }[] }>('GET', `/vpgSettings/${id}${vm}`);
    const entries = [...Volumes.map((volume) => `${vm}/volumes/${volume.VolumeIdentifier}`), ...Nics.map((nic) => `${vm}/nics/${nic.NicIdentifier}`)];
    expect(entries.length).toBeGreaterThan(0);
    for (const part of ['', ...SECTIONS.map((name) => `/${name}`), vm, ...entries]) {
      await client.ok('PUT', `/vpgSettings/${id}${part}`, await client.ok('GET', `/vpgSettings/${id}${part}`));
      expect({ part, settings: await settings(id) }).toEqual({ part, settings: before });
    }
  });

  it('keys may be camelCase', async () => {
    const id = await client.ok<string>('POST', '/vpgSettings', { basic: { name: 'camel', rpoInSeconds: 90 } });
    expect((await settings(id)).Basic).toMatchObject({ Name: 'camel', RpoInSeconds: 90 });
  });

  it('no body and an empty one are {}', async () => {
    for (const options of [{}, { text: '' }, { text: '{}' }]) expect(await client.call('POST', '/vpgSettings', options)).toMatchObject({ status: 200 });
  });

  it('ids in a path match in any letter case', async () => {
    const id = await draft();
    const upper = `/VPGSETTINGS/${id.toUpperCase()}/VMS/${vmId.toUpperCase()}`;
    const volumes = await client.ok<{ VolumeIdentifier: string }[]>('GET', `${upper}/VOLUMES`);
    const volume = await client.ok('GET', `${upper}/VOLUMES/${volumes[0]?.VolumeIdentifier.toUpperCase()}`);
    expect(volume).toEqual(volumes[0]);
    await client.ok('PUT', upper, await client.ok('GET', upper));
    expect((await settings(id)).Vms?.map((vm) => vm.VmIdentifier)).toEqual([vmId]);
    expect(await client.refused(409, 'POST', `/vpgSettings/${id}/vms`, { VmIdentifier: vmId.toUpperCase() })).toContain('already');
  });

  it.each([
    ['half of a document', '{"Basic":', /not JSON/],
    ['a list', '[]', /JSON object/],
    ['a text', '"x"', /JSON object/],
    ['a deeper nest than anything here', `${'{"Basic":'.repeat(20_000)}1${'}'.repeat(20_000)}`, /deep/],
    ['a null character', '{"Basic":{"Name":"a\\u0000b"}}', /null character/],
    ['half a surrogate pair', '{"Basic":{"Name":"\\ud800"}}', /surrogate/],
    ['an escape sequence in a name', '{"Basic":{"Name":"a\\u001b[2J"}}', /control characters/],
    ['a name that reads backwards', '{"Basic":{"Name":"\\u202egpj"}}', /direction marks/],
    ['a script that nobody would run', '{"Scripting":{"PostBackup":{"Command":"/x"}}}', /not supported/],
    ['a number for a text', '{"Basic":{"Name":5}}', /^Basic\.Name must be a string$/],
  ])('%s is refused with 400 and changes nothing', async (_name, text, message) => {
    const id = await draft();
    const before = await settings(id);
    const answer = await client.call('PUT', `/vpgSettings/${id}`, { text });
    expect({ status: answer.status, ...(JSON.parse(answer.text) as object) }).toEqual({ status: 400, Message: expect.stringMatching(message) });
    expect(await settings(id)).toEqual(before);
  });

  it.each([
    ['an address that cannot be decoded', '/vpgs/%zz', 400],
    ['an address that is too long', `/vpgs/${'x'.repeat(3000)}`, 414],
    ['a null character in an id', '/tasks/%00', 404],
  ])('%s is answered with a Message', async (_name, path, status) => {
    expect(await client.refused(status, 'GET', path)).toMatch(/.{5,}/);
  });

  it('a way to authenticate that does not exist is refused', async () => {
    const answer = await client.call('POST', '/session/add', { body: { AuthenticationMethod: 7 } });
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 400, text: expect.stringContaining('AuthenticationMethod must be one of') });
  });
});
