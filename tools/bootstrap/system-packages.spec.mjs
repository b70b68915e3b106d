import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { ensureTools } from './system-packages.mjs';

describe('tools of the system', () => {
  const path = process.env.PATH;
  beforeEach(() => (process.env.PATH = '/nowhere'));
  afterEach(() => (process.env.PATH = path));

  it('are named one by one, with the command that brings them, where nothing may be installed', () => {
    const attempt = () => ensureTools(['fio', 'nbdkit', 'qemu-utils'], { mayInstall: false });
    expect(attempt).toThrow(/fio \(built with its nbd engine\)\n.*nbdkit\n.*qemu-img, qemu-io, qemu-nbd/);
  });

  it('are looked for in the folders of the superuser as well', () => {
    expect(() => ensureTools(['e2fsprogs'], { mayInstall: false })).not.toThrow();
  });
});
