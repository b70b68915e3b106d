import { describe, expect, it } from '@jest/globals';
import { captureBytesMax, readConfig } from './config.js';

const COMPLETE = {
  TIDEMARK_SITE_ID: '0b4c7f2e-5d2b-4d7e-9a53-3f7d0c1f6f01',
  TIDEMARK_VRA_ID: 'vra-1',
  TIDEMARK_HOST_ID: 'host-1',
  TIDEMARK_ADDRESS: '127.0.1.11',
  TIDEMARK_NATS_URL: 'nats://127.0.1.1:4222',
  TIDEMARK_STATE_DIR: '/var/lib/vra',
  TIDEMARK_NBD_SOCKET: '/run/nbd.sock',
  TIDEMARK_DATASTORES: '/vmfs/ds1:/vmfs/ds2',
};

describe('configuration of a VRA', () => {
  it('takes the ports of the mission when none are given', () => {
    const config = readConfig(COMPLETE);
    expect([config.healthPort, config.controlPort, config.dataPort, config.backupPort]).toEqual([4006, 4007, 4008, 9180]);
  });

  it.each(['', '/', 'ds1', '/ds1:', '/ds1:ds2', '/ds1/'])('takes no datastores %p', (text) => {
    expect(() => readConfig({ ...COMPLETE, TIDEMARK_DATASTORES: text })).toThrow('TIDEMARK_DATASTORES');
  });

  it('names every variable that is missing or wrong, at once', () => {
    const wrong = { ...COMPLETE, TIDEMARK_SITE_ID: 'site', TIDEMARK_NBD_SOCKET: `/${'x'.repeat(120)}`, TIDEMARK_ADDRESS: undefined };
    expect(() => readConfig(wrong)).toThrow(/TIDEMARK_SITE_ID[^]*TIDEMARK_ADDRESS[^]*TIDEMARK_NBD_SOCKET/);
  });

  it.each([
    [1024, 414],
    [2048, 1336],
    [3072, 2258],
  ])('gives an appliance with %d MiB of RAM %d MiB for captured writes', (memoryMiB, expected) => {
    expect(captureBytesMax(memoryMiB)).toBe(expected * 1024 * 1024);
  });
});
