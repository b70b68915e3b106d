import { type BusAccess, brokerTls, systemRights } from '@tidemark/nest';
import { credentials, makeNatsKey, type NatsAuthority } from '@tidemark/trust';
import { inboxNameOf } from '@tidemark/contracts';

const LIFE_MS = 24 * 3_600_000;

export interface SystemAccessOptions {
  readonly siteId: string;
  readonly authority: NatsAuthority;
  readonly caPem: () => readonly string[];
}

/**
 * The ZVM on the system account of its broker. It holds the account's key, so this user is made anew each half day and stands in no file. `renew` is to be
 * awaited once before the first connection.
 */
export class SystemAccess implements BusAccess {
  readonly inboxName = inboxNameOf({ kind: 'zvm' });
  #text = '';
  #changed: () => void = () => undefined;
  readonly #timer: NodeJS.Timeout;

  private constructor(private readonly options: SystemAccessOptions) {
    this.#timer = setInterval(() => void this.#renew().then(() => this.#changed(), () => undefined), LIFE_MS / 2).unref();
  }

  static async make(options: SystemAccessOptions): Promise<SystemAccess> {
    const access = new SystemAccess(options);
    await access.#renew();
    return access;
  }

  async #renew(): Promise<void> {
    const key = makeNatsKey();
    const jwt = await this.options.authority.systemUser(key.publicKey, { ...systemRights(), notAfterMs: Date.now() + LIFE_MS });
    this.#text = credentials(jwt, key.seed);
  }

  readonly credentials = (): string => this.#text;
  readonly tls = () => brokerTls(this.options.siteId, this.options.caPem());
  readonly onChange = (listener: () => void): void => {
    this.#changed = listener;
  };

  stop(): void {
    clearInterval(this.#timer);
  }
}
