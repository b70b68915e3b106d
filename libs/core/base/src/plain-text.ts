/**
 * Characters that do something to what stands around them, or that nobody sees: controls (terminal escapes begin with one), line and paragraph separators, direction marks and overrides (a name can read backwards, or
 * take the rest of its line with it), invisible ones (two names that look alike), halves of surrogate pairs.
 */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\p{Bidi_Control}\u200b\u2060\ufeff]/u;
const EACH_UNSEEN = new RegExp(UNSEEN.source, 'gu');
const LINE_ENDS_AND_TABS = /[\r\n\t]/g;

/** Whether a name, label or the like may be stored as it is. `<`, quotes and `&` are letters like others: who shows them escapes them. */
export const isPlainText = (text: string): boolean => !UNSEEN.test(text);

/** The same for text of several lines. */
export const isPlainLines = (text: string): boolean => isPlainText(text.replace(LINE_ENDS_AND_TABS, ' '));

/** For text of others (guests, peers, other managers) that is to be shown: what {@link isPlainText} refuses becomes visible, as in `\u{1b}`. Plain text stays as it is. */
export const shownText = (text: string): string => text.replace(EACH_UNSEEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
