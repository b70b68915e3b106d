import type { ConnectionOptions } from 'node:tls';

/** With what a {@link ControlBus} shows who it is, and by what it knows its broker. Read anew for each connection. */
export interface BusAccess {
  /** Text of a NATS credentials file: the user's JWT and seed. */
  readonly credentials: () => string;
  /** The CA certificates that are believed and the check of the broker's name. */
  readonly tls: () => ConnectionOptions;
  /** Answers come in below `_INBOX.<inboxName>`: the only inbox that the broker lets this user read. */
  readonly inboxName: string;
  /** Called with every renewal: the bus then connects anew. */
  readonly onChange?: (listener: () => void) => void;
}
