import { isMet } from './result.mjs';

const WIDTH = 860;
const LABEL_WIDTH = 330;
const VALUE_WIDTH = 120;
const ROW_HEIGHT = 26;
const TOP = 34;
const BOTTOM = 30;
const PLOT = { left: LABEL_WIDTH, right: WIDTH - VALUE_WIDTH };
/** Ratio ÷ goal that the axis shows at least, and at most. */
const AXIS = { widest: [0.05, 20], narrowest: [0.5, 2] };
const TICKS = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20];

// Colours that differ in lightness as well as in hue; the picture follows the reader's light or dark setting by itself.
const STYLE = `
  svg { font: 13px system-ui, sans-serif; }
  .paper { fill: #ffffff; } .text { fill: #1f2328; } .quiet { fill: #59636e; } .grid { stroke: #d1d9e0; } .goal { stroke: #1f2328; stroke-width: 1.5; }
  .met { fill: #1a7f64; } .missed { fill: #d9822b; } .spread { stroke: #1f2328; stroke-width: 1.2; fill: none; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } .text { fill: #f0f6fc; } .quiet { fill: #9198a1; } .grid { stroke: #3d444d; } .goal { stroke: #f0f6fc; }
    .met { fill: #3fb68b; } .missed { fill: #f0a35e; } .spread { stroke: #f0f6fc; }
  }`;

const escaped = (text) => text.replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign]);
const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));
const short = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

/** From the lowest to the highest tick that the rows need. */
function axisOf(rows) {
  const values = rows.flatMap((row) => [row.ratio, ...(row.spread ?? [])].map((value) => clamp(value / row.goal, AXIS.widest)));
  const low = Math.min(AXIS.narrowest[0], ...values);
  const high = Math.max(AXIS.narrowest[1], ...values);
  return [Math.max(...TICKS.filter((tick) => tick <= low)), Math.min(...TICKS.filter((tick) => tick >= high))];
}

/**
 * One bar per row: how far the ratio is above (right) or below (left) its goal, on a logarithmic axis; a line shows the quartiles of the rounds.
 * @param {{ name: string, rows: readonly object[] }} result
 */
export function chartOf({ name, rows }) {
  const axis = axisOf(rows);
  const height = TOP + rows.length * ROW_HEIGHT + BOTTOM;
  const x = (value) => PLOT.left + ((Math.log(clamp(value, axis)) - Math.log(axis[0])) / (Math.log(axis[1]) - Math.log(axis[0]))) * (PLOT.right - PLOT.left);
  const at = (value) => x(value).toFixed(1);
  const ticks = TICKS.filter((tick) => tick >= axis[0] && tick <= axis[1]);
  const met = rows.filter(isMet).length;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escaped(name)}: ${met} of ${rows.length} goals met">`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" width="${WIDTH}" height="${height}" rx="6"/>`,
    `<text class="quiet" x="${PLOT.left}" y="20">below its goal</text><text class="quiet" x="${PLOT.right}" y="20" text-anchor="end">above its goal</text>`,
    ...ticks.map((tick) => `<line class="${tick === 1 ? 'goal' : 'grid'}" x1="${at(tick)}" x2="${at(tick)}" y1="${TOP - 6}" y2="${height - BOTTOM}"/>`
      + `<text class="quiet" x="${at(tick)}" y="${height - 10}" text-anchor="middle">${tick === 1 ? 'goal' : `× ${tick}`}</text>`),
    ...rows.flatMap((row, index) => barOf(row, { y: TOP + index * ROW_HEIGHT, x })),
    '</svg>',
  ].join('\n')}\n`;
}

function barOf(row, { y, x }) {
  const [from, to] = [x(1), x(row.ratio / row.goal)].sort((a, b) => a - b);
  const middle = y + ROW_HEIGHT / 2;
  const label = row.peerName ? `${row.case} ÷ ${row.peerName}` : row.case;
  const lines = [
    `<text class="text" x="${LABEL_WIDTH - 12}" y="${middle + 4}" text-anchor="end">${escaped(short(label, 46))}</text>`,
    `<rect class="${isMet(row) ? 'met' : 'missed'}" x="${from.toFixed(1)}" y="${y + 6}" width="${Math.max(1.5, to - from).toFixed(1)}" height="${ROW_HEIGHT - 12}"/>`,
    `<text class="text" x="${PLOT.right + 10}" y="${middle + 4}">${row.ratio.toFixed(2)}<tspan class="quiet"> of ${row.goal.toFixed(2)}</tspan></text>`,
  ];
  if (!row.spread) return lines;
  const [low, high] = row.spread.map((value) => x(Math.max(value, Number.MIN_VALUE) / row.goal).toFixed(1));
  return [...lines, `<path class="spread" d="M${low} ${middle}H${high}M${low} ${middle - 4}v8M${high} ${middle - 4}v8"/>`];
}
