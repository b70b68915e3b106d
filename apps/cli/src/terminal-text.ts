import { shownText } from '@tidemark/base';

/** What we write ourselves: the end of a line, and colours. */
const OURS = /(\n|\u001b\[\d{1,2}m)/;

/** Text for a terminal: names of VMs, messages of sites and the like cannot move its cursor, clear it, or set its title. */
export const terminalText = (text: string): string => text.split(OURS).map((part, index) => (index % 2 === 1 ? part : shownText(part))).join('');

/** The same value with all texts in it as they may be shown, before our own colours come to them. */
export function shownValue<T>(value: T): T {
  if (typeof value === 'string') return shownText(value) as T & string;
  if (Array.isArray(value)) return value.map(shownValue) as T & unknown[];
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]: [string, unknown]) => [key, shownValue(inner)])) as T;
}

/** JSON of the same meaning in which nothing is left that a terminal would obey: JSON itself escapes only what lies below U+0020. */
export const terminalJson = (json: string): string => json.split('\n').map((line) => line.replace(/[^\x20-\x7e]/gu, escaped)).join('\n');

const escaped = (character: string): string =>
  shownText(character) === character ? character : [...Array(character.length).keys()].map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`).join('');
