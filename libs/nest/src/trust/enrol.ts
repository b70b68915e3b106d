import { shownText, TidemarkError } from '@tidemark/base';
import { type EnrolmentV1, IDENTITY_GRANT, type IdentityGrantV1 } from '@tidemark/contracts';
import { ComponentIdentity, type EnrolmentToken, FileSet, grantedParts, makeNatsKey, makeRequest, nameUri, parseToken, TrustBundle } from '@tidemark/trust';
import { request, type RequestOptions } from 'node:https';
import { join } from 'node:path';

const PENDING_FILES = ['token-id', 'request.pem', 'key.pem', 'nats-public-key', 'nats-seed'] as const;
const TIMEOUT_MS = 15_000;
const ANSWER_BYTES_MAX = 256 * 1024;
const REASON_LENGTH_MAX = 1000;

export type EnrolmentErrorCode = 'ENROLMENT_REFUSED' | 'ENROLMENT_UNREACHABLE';

/** Why a component did not become one of the site. ENROLMENT_UNREACHABLE may pass; ENROLMENT_REFUSED needs another token. */
export class EnrolmentError extends TidemarkError<EnrolmentErrorCode> {
  get isRetryable(): boolean {
    return this.code === 'ENROLMENT_UNREACHABLE';
  }
}

export interface EnrolmentOptions {
  readonly token: string;
  readonly role: 'vra' | 'vba';
  readonly instanceId: string;
  readonly hostId: string;
  readonly siteId: string;
  /** The identity's folder. */
  readonly folder: string;
  /** One that is to be replaced while its component runs. */
  readonly identity?: ComponentIdentity | undefined;
}

/**
 * Redeems a token for a certificate and a NATS user, both for keys that are made here. The keys are durable before they are sent: asked again after a
 * kill, the ZVM hears the same ones and answers again, although the token is used. Throws EnrolmentError, TrustError TRUST_TOKEN, and others of it for an answer that would be of no use.
 */
export async function enrol(options: EnrolmentOptions): Promise<ComponentIdentity> {
  const token = parseToken(options.token, 'enrolment');
  assertForThis(token, options);
  const pending = await pendingKeys(options.folder, token.tokenId);
  const { siteId, role, instanceId, hostId } = options;
  const asked: EnrolmentV1 = { token: options.token.trim(), role, instanceId, hostId, certificateRequest: pending['request.pem'], natsPublicKey: pending['nats-public-key'] };
  const grant = await post(token, asked);
  const natsKey = { publicKey: pending['nats-public-key'], seed: pending['nats-seed'] };
  const parts = grantedParts(grant, { name: { siteId, role, instanceId }, keyPem: pending['key.pem'], natsKey });
  const identity = options.identity ?? (await ComponentIdentity.store(options.folder, parts));
  if (options.identity) await options.identity.replace(parts);
  await pendingFiles(options.folder).removeFolder();
  return identity;
}

/** The ZVM would say the same, but a token would have been shown for nothing. */
function assertForThis(token: EnrolmentToken, options: EnrolmentOptions): void {
  for (const part of ['siteId', 'role', 'instanceId', 'hostId'] as const) {
    if (token[part] !== options[part]) throw new EnrolmentError('ENROLMENT_REFUSED', `this token is for ${part} ${token[part]}; this is ${options[part]}`);
  }
}

const pendingFiles = (folder: string): FileSet<(typeof PENDING_FILES)[number]> => new FileSet(join(folder, 'pending'), PENDING_FILES);

async function pendingKeys(folder: string, tokenId: string): Promise<Record<(typeof PENDING_FILES)[number], string>> {
  const files = pendingFiles(folder);
  const kept = await files.read();
  if (kept?.['token-id'] === tokenId) return kept;
  const { pem, keyPem } = await makeRequest();
  const user = makeNatsKey();
  const made = { 'token-id': tokenId, 'request.pem': pem, 'key.pem': keyPem, 'nats-public-key': user.publicKey, 'nats-seed': user.seed };
  await files.write(made);
  return made;
}

/** The first connection is verified already: the token carries the CA, and the listener must be the ZVM of that site. */
async function post(token: EnrolmentToken, body: EnrolmentV1): Promise<IdentityGrantV1> {
  const { siteId, address, port } = token;
  const where = `${address}:${port}`;
  const bundle = new TrustBundle([{ siteId, caPem: [token.caPem] }]);
  const { status, text } = await send(body, {
    host: address, port, path: '/internal/v1/enrol', ca: bundle.caPem, minVersion: 'TLSv1.3',
    checkServerIdentity: (_host, certificate) => {
      try {
        bundle.verify(certificate, Date.now(), { siteId, role: 'zvm' });
        return undefined;
      } catch (error) {
        return error as Error;
      }
    },
  }).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EnrolmentError('ENROLMENT_UNREACHABLE', `${nameUri({ siteId, role: 'zvm', instanceId: 'main' })} at ${where} cannot be reached: ${why}`, { cause });
  });
  if (status === 200) return grantIn(text, where);
  const reason = messageIn(text);
  throw new EnrolmentError(status === 429 || status >= 500 ? 'ENROLMENT_UNREACHABLE' : 'ENROLMENT_REFUSED', `the ZVM at ${where} answers ${status}: ${reason}`);
}

function send(body: object, options: RequestOptions): Promise<{ status: number; text: string }> {
  const bytes = Buffer.from(JSON.stringify(body));
  return new Promise((resolve, reject) => {
    const call = request({
      ...options, method: 'POST', agent: false, signal: AbortSignal.timeout(TIMEOUT_MS), headers: { 'content-type': 'application/json', 'content-length': bytes.length },
    }, (response) => {
      const parts: Buffer[] = [];
      let size = 0;
      response.on('error', reject).on('data', (part: Buffer) => {
        size += part.length;
        if (size > ANSWER_BYTES_MAX) response.destroy(new Error(`an answer of more than ${ANSWER_BYTES_MAX} bytes`));
        else parts.push(part);
      }).on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }));
    });
    call.on('error', reject);
    call.end(bytes);
  });
}

function grantIn(text: string, where: string): IdentityGrantV1 {
  const grant = IDENTITY_GRANT.read(parsed(text));
  if (!grant) throw new EnrolmentError('ENROLMENT_UNREACHABLE', `the ZVM at ${where} answers something that is no identity`);
  return grant;
}

function messageIn(text: string): string {
  const { Message: message } = (parsed(text) ?? {}) as { readonly Message?: unknown };
  return typeof message === 'string' ? shownText(message.slice(0, REASON_LENGTH_MAX)) : 'no reason given';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
