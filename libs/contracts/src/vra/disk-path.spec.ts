import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import { AttachedDiskV1 } from './desired-state.js';

function problems(path: unknown): string[] {
  const disk = plainToInstance(AttachedDiskV1, { diskId: 'scsi:0:0', exportName: 'vm-1-0', path, sizeBytes: 4096 });
  return validateSync(disk, { whitelist: true }).flatMap(({ constraints = {} }) => Object.values(constraints));
}

describe('where an attached disk is', () => {
  it.each(['/datastore/vm/disk.raw', 'nbd://10.0.0.7:10809/disk', 'nbd://storage/disk%201', 'nbd+unix:///disk?socket=/run/storage/nbd.sock'])('takes %s', (path) => {
    expect(problems(path)).toEqual([]);
  });

  it.each([
    ['disk.raw', 'is not an NBD URI'],
    ['http://storage/disk', 'is not a scheme of NBD'],
    ['nbds://storage/disk', 'NBD over TLS is not supported'],
    ['nbd+unix:///disk', 'needs ?socket=/path'],
    ['nbd://storage:0/disk', 'is not a port'],
    ['/disk\0.raw', 'no zero byte'],
    [7, 'must be a text'],
  ])('refuses %j and says why', (path, reason) => {
    expect(problems(path).join('; ')).toContain(reason);
  });
});
