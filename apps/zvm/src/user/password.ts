import { hash, verify } from '@node-rs/argon2';
import { randomBytes } from 'node:crypto';
import { invalid, TooManyError } from '../errors.js';

/** OWASP's second choice for Argon2id: 19 MiB, two passes, one lane; some 30 ms of one core. */
const ARGON2ID = { algorithm: 2, memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
/** Each takes a core and 19 MiB: strangers shall not take them all. */
const RUNNING_MAX = 2;
const WAITING_MAX = 50;

export const PASSWORD_LENGTH_MIN = 12;
export const PASSWORD_LENGTH_MAX = 256;

/** 144 bits: nobody guesses it, and it can be typed. */
export const generatePassword = (): string => randomBytes(18).toString('base64url');

/** Length is what counts (NIST SP 800-63B): no rules about kinds of characters. @throws ZvmError ZVM_INVALID */
export function assertGoodPassword(password: string, userName: string): void {
  const length = [...password].length;
  if (length < PASSWORD_LENGTH_MIN) throw invalid(`NewPassword: at least ${PASSWORD_LENGTH_MIN} characters are needed`);
  if (length > PASSWORD_LENGTH_MAX) throw invalid(`NewPassword: at most ${PASSWORD_LENGTH_MAX} characters are possible`);
  if (password.toLowerCase().includes(userName.toLowerCase())) throw invalid('NewPassword: it must not contain the user name');
  if (new Set(password).size < 5) throw invalid('NewPassword: it repeats the same few characters');
}

let running = 0;
const waiting: (() => void)[] = [];

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= RUNNING_MAX) {
    if (waiting.length >= WAITING_MAX) throw new TooManyError('too many log-ins at once; try again', 1000);
    await new Promise<void>((resolve) => waiting.push(resolve));
  } else {
    running += 1;
  }
  try {
    return await work();
  } finally {
    // Whoever waits takes over this one's place.
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }
}

export const hashPassword = (password: string): Promise<string> => inTurn(() => hash(password, ARGON2ID));

let nobodysHash: Promise<string> | undefined;

/** `passwordHash` undefined: no such user. It takes as long, and is never right. */
export async function isRightPassword(passwordHash: string | undefined, password: string): Promise<boolean> {
  nobodysHash ??= hashPassword(generatePassword());
  const against = passwordHash ?? await nobodysHash;
  const isSame = await inTurn(() => verify(against, password).catch(() => false));
  return isSame && passwordHash !== undefined;
}
