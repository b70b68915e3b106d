import { type Check, knownOf } from './checks.js';

/**
 * What a question may be answered with; who asks says it, so that no answer is worked with unseen. `read` gives the answer with the fields that it has by its type, and no others; undefined: it
 * is none. A class is validated as a request is.
 */
export type Answer<R extends object> = ShapedAnswer<R> | { readonly type: new () => R };

export interface ShapedAnswer<R extends object> {
  readonly read: (value: unknown) => R | undefined;
}

export const answerOf = <R extends object>(check: Check): ShapedAnswer<R> => ({ read: (value) => (check(value) ? (knownOf(check, value) as R) : undefined) });

/** That it was done is all: what else comes is neither looked at nor kept. */
export const DONE: ShapedAnswer<object> = { read: () => ({}) };

/** What is told in that answer. */
export type Answered<A> = A extends Answer<infer R> ? R : never;
