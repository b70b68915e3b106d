import type { AuditResult, ChainedEntry } from './audit-entry.js';

/** RFC 5424, 6.2.1: log audit. */
const FACILITY = 13;
const SEVERITY: Readonly<Record<AuditResult, number>> = { Done: 5, Refused: 4, Failed: 4, Unknown: 4 };
/** The number that RFC 5612 gives to documentation; an own one has to be registered. */
const SD_ID = 'tidemark@32473';
const VALUE_LENGTH_MAX = 500;

/** One RFC 5424 message in UTF-8: what can be searched stands in the structured data, a sentence for people after it. */
export function syslogMessage({ seq, hash, entry }: ChainedEntry, hostName: string): Buffer {
  const pri = FACILITY * 8 + SEVERITY[entry.result];
  const host = hostName.replace(/[^\x21-\x7e]/g, '').slice(0, 255) || '-';
  const values: Record<string, string | number | null> = {
    seq, hash, user: entry.user, method: entry.method, address: entry.address, action: entry.action, permission: entry.permission, result: entry.result, status: entry.status,
    entities: entry.entities.join(' '), token: entry.tokenId, subject: entry.subject, task: entry.taskId, changes: (entry.changes ?? []).map(({ path }) => path).join(' '),
  };
  const data = Object.entries(values).filter(([, value]) => value !== null && value !== '').map(([name, value]) => ` ${name}="${escaped(String(value))}"`).join('');
  const text = `${entry.user || 'nobody known'}: ${entry.action}: ${entry.result}${entry.message === null ? '' : ` (${entry.message})`}`;
  return Buffer.from(`<${pri}>1 ${new Date(entry.atMs).toISOString()} ${host} tidemark-zvm - audit [${SD_ID}${data}] \ufeff${oneLine(text)}`, 'utf8');
}

/** RFC 5424, 6.3.3. */
const escaped = (value: string): string => oneLine(value).replace(/["\\\]]/g, (character) => `\\${character}`);

/** Names come from guests and strangers: nothing in them ends a line or moves a cursor. */
const oneLine = (text: string): string => [...text.replace(/\p{Cc}/gu, ' ')].slice(0, VALUE_LENGTH_MAX).join('');
