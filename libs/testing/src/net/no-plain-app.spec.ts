import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

const ROOT = join(import.meta.dirname, '..', '..', '..', '..');
/** Sources that end up in an app: everything but tests, their rigs, and libs/testing. */
const sources = ['apps', 'libs'].flatMap((top) => readdirSync(join(ROOT, top), { recursive: true, encoding: 'utf8' }).map((path) => join(top, path)))
  .filter((path) => path.endsWith('.ts') && path.includes('/src/') && !/node_modules|\/dist\/|\.spec\.ts$|\/testing\//.test(path));

describe('TCP without TLS', () => {
  it('is imported by no source of an app or of a library that an app is made of', () => {
    expect(sources.length).toBeGreaterThan(300);
    expect(sources).toContain('apps/vra/src/main.ts');
    const users = sources.filter((path) => /link\/plain|plain-transport|plainTransport/.test(readFileSync(join(ROOT, path), 'utf8')));
    expect(users).toEqual(['libs/io/link/src/plain-transport.ts']);
  });

  it('is not how the VRA connects: it builds the TLS transport, from its own certificate', () => {
    expect(readFileSync(join(ROOT, 'apps/vra/src/main.ts'), 'utf8')).toContain('transport: new TlsTransport({ identity,');
  });

  it('is no default: an engine, a server and a connection are each given their transport', () => {
    const engine = readFileSync(join(ROOT, 'libs/io/engine-host/src/types.ts'), 'utf8');
    expect(engine).toContain('readonly transport: LinkTransport;');
    for (const file of ['connect-link.ts', 'link-server.ts']) {
      expect(readFileSync(join(ROOT, 'libs/io/link/src', file), 'utf8')).toContain('readonly transport: LinkTransport;');
    }
  });
});
