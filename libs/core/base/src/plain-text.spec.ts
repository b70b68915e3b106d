import { describe, expect, it } from '@jest/globals';
import { isPlainLines, isPlainText, shownText } from './plain-text.js';

const HOSTILE = [
  ['an escape sequence', 'a\u001b[2Jb', 'a\\u{1b}[2Jb'],
  ['the one-byte escape', 'a\u009b31mb', 'a\\u{9b}31mb'],
  ['a null character', 'a\0', 'a\\u{0}'],
  ['a line feed', 'a\nb', 'a\\u{a}b'],
  ['a carriage return, which overwrites the line', 'failed\rok', 'failed\\u{d}ok'],
  ['a line separator', 'a\u2028b', 'a\\u{2028}b'],
  ['a right-to-left override', 'gpj\u202eexe', 'gpj\\u{202e}exe'],
  ['an isolate that is never closed', '\u2067x', '\\u{2067}x'],
  ['an invisible character', 'web\u200b01', 'web\\u{200b}01'],
  ['a byte order mark', '\ufeffweb', '\\u{feff}web'],
  ['half a pair', 'a\ud83d', 'a\\u{d83d}'],
  ['delete', 'a\u007f', 'a\\u{7f}'],
] as const;

describe('names', () => {
  it.each(HOSTILE)('%s is refused, and visible where it has to be shown', (_what, text, shown) => {
    expect(isPlainText(text)).toBe(false);
    expect(shownText(text)).toBe(shown);
    expect(isPlainText(shownText(text))).toBe(true);
  });

  it.each(['web01', 'Büro Köln', '东京 1', 'עברית', 'العربية', 'नमस्ते', '👩‍💻 lab', '<script>alert(1)</script>', "O'Brien & \"Söhne\"", '$(reboot) `id` %s', '../..'])('%s is plain', (text) => {
    expect(isPlainText(text)).toBe(true);
    expect(shownText(text)).toBe(text);
  });

  it('of several lines may have line ends and tabs, nothing else', () => {
    expect(isPlainLines('a\r\n\tb')).toBe(true);
    expect(isPlainLines('a\n\u001b[2J')).toBe(false);
  });
});
