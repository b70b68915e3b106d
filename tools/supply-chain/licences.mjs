/**
 * Whether an SPDX expression may be used, given the allowed licences. Of `A OR B` one must be allowed, of `A AND B` both;
 * an expression that mixes them is not taken apart: a person reads it and names the package as an exception.
 */
export function isAllowedLicence(expression, allowed) {
  if (typeof expression !== 'string') return false;
  const bare = expression.replace(/^\((.*)\)$/, '$1').trim();
  if (/[()]/.test(bare)) return false;
  const either = bare.split(' OR ');
  const both = bare.split(' AND ');
  if (either.length > 1 && both.length > 1) return false;
  return either.length > 1 ? either.some((licence) => allowed.has(licence)) : both.every((licence) => allowed.has(licence));
}
