import type { AuditChange } from './audit-entry.js';
import { canonical } from './chain.js';

const SECRET_NAME = /password|passphrase|secret|token|credential|private|seed|jwt|apikey|authorization|loginidentifier|callbackurl/i;
/** Names that match and hold nothing secret. */
const HARMLESS_NAME = /^(tokenidentifier|secretfile|ispasswordtobechanged|usepublickeyinsteadofcredentials)$/i;
const SECRET_VALUE = /^(tdm_|tidemark1\.|-----BEGIN [A-Z ]*PRIVATE KEY)/;
const TEXT_LENGTH_MAX = 1000;
const DEPTH_MAX = 20;
const INPUT_LENGTH_MAX = 8000;
const CHANGES_MAX = 100;
const CHANGES_LENGTH_MAX = 100_000;

export const MASK = '***';

/** A copy without secrets, without what jsonb refuses, and with long texts cut. */
export function redacted(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return SECRET_VALUE.test(value) ? MASK : plainText(value);
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'object' || value === null) return typeof value === 'boolean' ? value : null;
  if (depth >= DEPTH_MAX) return '…';
  if (Array.isArray(value)) return value.map((inner) => redacted(inner, depth + 1));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [plainText(key), isSecret(key, inner) ? MASK : redacted(inner, depth + 1)]));
}

const isSecret = (key: string, value: unknown): boolean => SECRET_NAME.test(key) && !HARMLESS_NAME.test(key) && value !== null && value !== undefined && value !== '';

export function plainText(text: string): string {
  const clean = text.toWellFormed().replaceAll('\0', '\uFFFD');
  return clean.length > TEXT_LENGTH_MAX ? `${clean.slice(0, TEXT_LENGTH_MAX)}…`.toWellFormed() : clean;
}

const SITE_NAME_LENGTH_MAX = 80;
const NAME_LENGTH_MAX = 200;

/** Who it was, on another site's word: never to be taken for a user of this one. One line, whatever was sent. */
export function namedBySite(siteName: string, user: string): string {
  const line = `site ${siteName.slice(0, SITE_NAME_LENGTH_MAX)}: ${user}`.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ');
  return line.slice(0, NAME_LENGTH_MAX).toWellFormed();
}

/** A request's body as the audit keeps it; null for none. */
export function redactedInput(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Object.keys(body).length === 0) return null;
  return bounded(redacted(body));
}

/** What differs, as paths; both sides without secrets. That a secret changed is said, not how. */
export function changesBetween(before: unknown, after: unknown): AuditChange[] {
  const changes: AuditChange[] = [];
  compare('', [before, after], changes);
  if (canonical(changes).length > CHANGES_LENGTH_MAX) return [{ path: '…', before: null, after: `${changes.length} changes, too long to keep` }];
  return changes.length > CHANGES_MAX ? [...changes.slice(0, CHANGES_MAX), { path: '…', before: null, after: `${changes.length - CHANGES_MAX} more` }] : changes;
}

function compare(path: string, [before, after]: readonly [unknown, unknown], changes: AuditChange[]): void {
  if (isPlain(before) && isPlain(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      const [from, to] = [before[key] ?? null, after[key] ?? null];
      const inner = path === '' ? key : `${path}.${key}`;
      if (!isSecret(key, 'x')) compare(inner, [from, to], changes);
      else if (canonical(from) !== canonical(to)) changes.push({ path: inner, before: MASK, after: MASK });
    }
    return;
  }
  const [from, to] = [redacted(before), redacted(after)];
  if (canonical(from) !== canonical(to)) changes.push({ path: path === '' ? '.' : path, before: bounded(from), after: bounded(to) });
}

function bounded(value: unknown): unknown {
  const { length } = canonical(value);
  return length > INPUT_LENGTH_MAX ? `(${length} characters, left out)` : value;
}

const isPlain = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
