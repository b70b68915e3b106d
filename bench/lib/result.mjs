/**
 * What a benchmark's JSON must say, so that its page can be made: {name, machine, versions, rows: [{case, unit, ours, peer, peerName, ratio,
 * goal, spread}]}. `ratio` is turned so that more is better, `ratio >= goal` is met. `peer` is null where the goal is a bound of its own;
 * `spread` are the quartiles of the pairwise ratios, or missing where there is one sample.
 */
export class ResultError extends Error {}

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const isText = (value) => typeof value === 'string' && value !== '';

/** Field → what it must be. */
const ROW = {
  case: isText,
  unit: (value) => typeof value === 'string',
  ours: isNumber,
  peer: (value) => value === undefined || value === null || isNumber(value),
  peerName: (value) => value === undefined || value === null || typeof value === 'string',
  ratio: isNumber,
  goal: (value) => isNumber(value) && value > 0,
  spread: (value) => value === undefined || value === null || (Array.isArray(value) && value.length === 2 && value.every(isNumber)),
};

/** Throws {@link ResultError}, which names the row and the field. Returns the result. */
export function checkedResult(result) {
  const { name, machine, versions, rows } = result ?? {};
  if (!isText(name)) throw new ResultError('a result without a name');
  if (typeof machine !== 'object' || machine === null || typeof versions !== 'object' || versions === null) throw new ResultError(`${name}: machine and versions are missing`);
  if (!Array.isArray(rows) || rows.length === 0) throw new ResultError(`${name}: no rows`);
  for (const row of rows) {
    for (const [field, isRight] of Object.entries(ROW)) {
      if (!isRight(row[field])) throw new ResultError(`${name}, row ${String(row.case)}: ${field} is ${JSON.stringify(row[field])}`);
    }
  }
  return result;
}

export const isMet = (row) => row.ratio >= row.goal;
