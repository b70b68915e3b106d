import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { OidcBegunApi } from '@tidemark/contracts';
import { CliError } from './cli-error.js';
import type { Session } from './context.js';

const WAIT_MS = 10 * 60_000;

/**
 * The user logs in at the identity provider in a browser, which comes back to a port of this machine. Where the browser runs elsewhere, the address that
 * it could not open is pasted here.
 */
export async function logInByBrowser({ client, output, signal }: Session): Promise<void> {
  const ended = new AbortController();
  const timer = setTimeout(() => ended.abort(new CliError('CLI_FAILED', 'nobody came back from the identity provider within 10 minutes')), WAIT_MS);
  const stop = (): void => ended.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  const { port, callback, close } = await listen(ended.signal);
  const lines = createInterface({ input: process.stdin });
  try {
    const { LoginIdentifier, AuthorizationUrl } = await client.post<OidcBegunApi>('/session/oidc/begin', { RedirectUri: `http://127.0.0.1:${port}/callback` });
    output.note(`Open this address in a browser and log in there:\n\n  ${AuthorizationUrl}\n\nIf the browser runs on another machine, paste the address here that it ends at.`);
    const pasted = new Promise<string>((resolve) => lines.on('line', (line) => {
      if (line.trim().startsWith(`http://127.0.0.1:${port}/callback?`)) resolve(line.trim());
    }));
    await client.finishOidc({ LoginIdentifier, CallbackUrl: await Promise.race([callback, pasted]) });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
    lines.close();
    // An open standard input would keep the process.
    process.stdin.unref?.();
    close();
  }
}

interface Listening {
  readonly port: number;
  readonly callback: Promise<string>;
  readonly close: () => void;
}

async function listen(signal: AbortSignal): Promise<Listening> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const callback = new Promise<string>((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason instanceof Error ? signal.reason : new CliError('CLI_FAILED', 'interrupted')), { once: true });
    server.on('request', (request, response) => {
      const isCallback = request.url?.startsWith('/callback?') === true;
      response.writeHead(isCallback ? 200 : 404, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
      response.end(isCallback ? 'You can close this page and go back to the command line.\n' : 'nothing is here\n');
      if (isCallback) resolve(`http://127.0.0.1:${port}${request.url ?? ''}`);
    });
  });
  return {
    port, callback,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
