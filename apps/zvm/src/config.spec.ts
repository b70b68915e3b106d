import { describe, expect, it } from '@jest/globals';
import { readConfig } from './config.js';

const whole = {
  TIDEMARK_SITE_ID: '0b7c2f5e-6a51-4d0a-9f0f-0d6a3f3c1a01',
  TIDEMARK_SITE_NAME: 'Amsterdam',
  TIDEMARK_ADDRESS: '127.0.1.1',
  TIDEMARK_NATS_URL: 'nats://127.0.1.1:4222',
  TIDEMARK_DATABASE_URL: 'postgres://zvm@%2Frun%2Fpostgresql/zvm',
  TIDEMARK_HYPERVISOR: 'simulated:https://127.0.1.2:9440',
  TIDEMARK_HYPERVISOR_CREDENTIAL_FILE: '/etc/tidemark/hypervisor',
  TIDEMARK_STATE_DIR: '/var/lib/tidemark',
};

describe('configuration', () => {
  it('takes the documented defaults', () => {
    const config = readConfig(whole);
    expect([config.restPort, config.natsPeerPort, config.checkpointIntervalMs, config.restHost]).toEqual([9669, 9081, 5000, '127.0.1.1']);
  });

  it.each([
    ['postgres://zvm@127.0.1.1:5432/zvm', false], ['postgres://zvm@db/zvm?sslmode=require', false], ['postgres://zvm@db/zvm?sslmode=verify-ca&sslrootcert=/ca.pem', false],
    ['postgres://zvm@/zvm', false], ['mysql://%2Frun/x', false], ['postgres://zvm:secret@db.example.org/zvm?sslmode=verify-full&sslrootcert=/ca.pem', true],
  ])('of the database takes a UNIX socket or verified TLS: %s %p', (url, isTaken) => {
    const read = () => readConfig({ ...whole, TIDEMARK_DATABASE_URL: url });
    if (isTaken) expect(read().databaseUrl).toBe(url);
    else expect(read).toThrow(/TIDEMARK_DATABASE_URL: expected a UNIX socket .* or TLS/);
  });

  it('of scripts has no folder, or one and an unprivileged user', () => {
    expect(readConfig(whole).scripts).toBeNull();
    const read = (user: Record<string, string>) => readConfig({ ...whole, TIDEMARK_SCRIPTS_DIR: '/etc/tidemark/scripts', ...user }).scripts;
    expect(read({})).toEqual({ folder: '/etc/tidemark/scripts', user: { uid: 65534, gid: 65534 } });
    expect(read({ TIDEMARK_SCRIPTS_USER: '998:997' })?.user).toEqual({ uid: 998, gid: 997 });
    for (const user of ['0:65534', '65534:0', 'nobody', '1', '-1:5']) expect(() => read({ TIDEMARK_SCRIPTS_USER: user })).toThrow(/unprivileged user/);
  });

  it('names every variable that is wrong or missing at once', () => {
    const { TIDEMARK_SITE_NAME: _name, ...rest } = whole;
    const broken = { ...rest, TIDEMARK_SITE_ID: 'site-a', TIDEMARK_REST_PORT: '99999', TIDEMARK_HYPERVISOR: 'vcenter' };
    expect(() => readConfig(broken)).toThrow(/TIDEMARK_SITE_ID[\s\S]*TIDEMARK_SITE_NAME[\s\S]*TIDEMARK_REST_PORT[\s\S]*TIDEMARK_HYPERVISOR/);
  });
});
