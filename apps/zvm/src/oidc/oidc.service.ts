import { Inject, Injectable, Logger } from '@nestjs/common';
import { networkOf } from '@tidemark/sys/network';
import { randomBytes } from 'node:crypto';
import * as oidc from 'openid-client';
import type { Origin } from '../access/caller.js';
import type { RoleGrant } from '../access/permissions.js';
import { plainText } from '../audit/redaction.js';
import { currentNote } from '../audit/audit-note.js';
import { Clock } from '../clock.js';
import { ZVM_CONFIG, type ZvmConfig } from '../config.js';
import { forbidden, invalid, messageOf, ZvmError } from '../errors.js';
import { type OpenedSession, SessionService } from '../session/session.service.js';
import type { OidcConfig } from './oidc-config.js';

const LOGIN_MS = 10 * 60_000;
const LOGINS_MAX = 1000;
/** Under way from one address (of IPv6: one /64): a stranger who begins ever more ends its own alone. */
const LOGINS_PER_NETWORK_MAX = 50;
const TIMEOUT_SECONDS = 10;
const LOOPBACK = /^http:\/\/127\.0\.0\.1:\d{1,5}\/callback$/;

interface BegunLogin {
  readonly network: string;
  readonly redirectUri: string;
  readonly verifier: string;
  readonly state: string;
  readonly nonce: string;
  readonly endsAtMs: number;
}

/**
 * Log-in by OpenID Connect: authorization code with PKCE. Whoever begins gets a secret id and the provider's address; the browser comes back to
 * the beginner (the command line's loopback port, or a listed page) with a code, which opens a session here only together with that id. So
 * neither a stolen code nor a log-in that somebody was talked into finishing is of use to anybody else. The person has the roles that its
 * claims said at the log-in, as long as the session lasts.
 */
@Injectable()
export class OidcService {
  readonly #log = new Logger(OidcService.name);
  readonly #begun = new Map<string, BegunLogin>();
  #provider: Promise<oidc.Configuration> | undefined;

  constructor(
    private readonly sessions: SessionService,
    private readonly clock: Clock,
    @Inject(ZVM_CONFIG) private readonly config: ZvmConfig,
  ) {}

  /** @throws ZvmError ZVM_NOT_FOUND when the site has no identity provider */
  get settings(): OidcConfig {
    if (!this.config.oidc) throw new ZvmError('ZVM_NOT_FOUND', 'this site has no identity provider: TIDEMARK_OIDC_FILE is not set');
    return this.config.oidc;
  }

  async begin(redirectUri: string, { address }: Origin): Promise<{ readonly loginId: string; readonly url: string }> {
    const { redirectUris, scope } = this.settings;
    if (!LOOPBACK.test(redirectUri) && !redirectUris.includes(redirectUri)) throw invalid(`RedirectUri: '${redirectUri}' is neither http://127.0.0.1:<port>/callback nor one of the site's redirectUris`);
    const provider = await this.#discovered();
    const now = this.clock.monotonicMs();
    const network = networkOf(address);
    this.#makeRoom(network, now);
    const loginId = randomBytes(32).toString('base64url');
    const login: BegunLogin = { network, redirectUri, verifier: oidc.randomPKCECodeVerifier(), state: oidc.randomState(), nonce: oidc.randomNonce(), endsAtMs: now + LOGIN_MS };
    this.#begun.set(loginId, login);
    const url = oidc.buildAuthorizationUrl(provider, {
      redirect_uri: redirectUri, scope, state: login.state, nonce: login.nonce, code_challenge: await oidc.calculatePKCECodeChallenge(login.verifier), code_challenge_method: 'S256',
    });
    return { loginId, url: url.href };
  }

  /** Oldest first, as a Map keeps them: those that took too long, of this network what is too much, and of everybody. */
  #makeRoom(network: string, now: number): void {
    for (const [id, { endsAtMs }] of this.#begun) if (endsAtMs < now || this.#begun.size >= LOGINS_MAX) this.#begun.delete(id);
    const own = [...this.#begun].filter(([, login]) => login.network === network);
    for (const [id] of own.slice(0, Math.max(0, own.length - LOGINS_PER_NETWORK_MAX + 1))) this.#begun.delete(id);
  }

  /** @throws ZvmError ZVM_UNAUTHORIZED when code or ID token are not right, ZVM_FORBIDDEN when no claim gives a role */
  async finish(loginId: string, callbackUrl: string, origin: Origin): Promise<OpenedSession> {
    const login = this.#begun.get(loginId);
    // One try each: what did not work begins anew.
    this.#begun.delete(loginId);
    if (!login || login.endsAtMs < this.clock.monotonicMs()) throw new ZvmError('ZVM_UNAUTHORIZED', 'this log-in is unknown, was finished, or took longer than 10 minutes: begin again');
    const claims = await this.#claimsFor(login, callbackUrl);
    const { nameClaim, issuer } = this.settings;
    const given = claims[nameClaim];
    // No name of a user of this site has a colon in it.
    const userName = `oidc:${plainText(typeof given === 'string' && given !== '' ? given : claims.sub).slice(0, 100)}`;
    const note = currentNote();
    if (note) note.claimedUser = userName;
    const roles = rolesIn(claims, this.settings);
    if (roles.length === 0) throw forbidden(`'${userName}' is known to ${issuer}, but nothing there gives it a role at this site`);
    return await this.sessions.open({ userId: null, userName, roles, isPasswordToBeChanged: false, subject: `${issuer} ${claims.sub}` }, origin);
  }

  async #claimsFor({ redirectUri, verifier, state, nonce }: BegunLogin, callbackUrl: string): Promise<oidc.IDToken> {
    if (!URL.canParse(callbackUrl) || !callbackUrl.startsWith(`${redirectUri}?`)) throw invalid('CallbackUrl: it must be the whole address that the browser came back to');
    const provider = await this.#discovered();
    try {
      const tokens = await oidc.authorizationCodeGrant(provider, new URL(callbackUrl), { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true });
      const claims = tokens.claims();
      if (!claims) throw new Error('no ID token');
      return claims;
    } catch (error) {
      const reason = reasonOf(error);
      this.#log.warn(`log-in by the identity provider refused: ${reason}`);
      throw new ZvmError('ZVM_UNAUTHORIZED', `the identity provider's answer is not accepted: ${reason}`, { cause: error });
    }
  }

  async #discovered(): Promise<oidc.Configuration> {
    const { issuer, clientId, clientSecret } = this.settings;
    this.#provider ??= oidc.discovery(new URL(issuer), clientId, undefined, clientSecret === null ? oidc.None() : oidc.ClientSecretBasic(clientSecret), {
      // The ID token's signature is checked although it comes over TLS; plain http only where the schema lets it.
      // eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so that it is noticed: the schema allows http for a provider on this machine alone
      execute: [oidc.enableNonRepudiationChecks, ...(issuer.startsWith('http://') ? [oidc.allowInsecureRequests] : [])], timeout: TIMEOUT_SECONDS,
    });
    try {
      return await this.#provider;
    } catch (error) {
      this.#provider = undefined;
      throw new ZvmError('ZVM_IDENTITY_DOWN', `the identity provider ${issuer} cannot be asked: ${reasonOf(error)}`, { cause: error });
    }
  }
}

/** The library names what it refused in the cause, which may be anything. */
function reasonOf(error: unknown): string {
  const cause: unknown = typeof error === 'object' && error !== null && 'cause' in error ? error.cause : undefined;
  const detail = typeof cause === 'object' && cause !== null && 'message' in cause && typeof cause.message === 'string' ? ` (${cause.message})` : '';
  return plainText(`${messageOf(error)}${detail}`).slice(0, 300);
}

function rolesIn(claims: Readonly<Record<string, unknown>>, { rolesClaim, roles }: OidcConfig): RoleGrant[] {
  const values = [claims[rolesClaim]].flat();
  return roles.filter(({ value }) => values.includes(value)).map(({ role, vpgIds }) => ({ role, vpgIds }));
}
