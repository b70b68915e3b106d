/**
 * Turns what a terminal showed (text with SGR colours, as `tmux capture-pane -e -p` prints it) into an SVG: the picture of the demo in the
 * README is made from a real run. Usage: node tools/terminal-svg.mjs < capture > picture.svg
 */
import { readFileSync } from 'node:fs';

const CELL = { width: 8.4, height: 18 };
const MARGIN = 16;
const PALETTE = ['#2e3436', '#e06c75', '#98c379', '#e5c07b', '#61afef', '#c678dd', '#56b6c2', '#d7dae0'];
const BRIGHT = ['#7f848e', '#ff7b86', '#a9d77f', '#f0d18a', '#7cc0ff', '#d78df0', '#6fd3dd', '#ffffff'];
const PLAIN = { color: '#d7dae0', isBold: false, isDim: false };

/** 256-colour index → hex (xterm's cube and grey ramp). */
function indexed(index) {
  if (index < 8) return PALETTE[index];
  if (index < 16) return BRIGHT[index - 8];
  if (index >= 232) return grey(8 + (index - 232) * 10);
  const cube = index - 16;
  const level = (value) => (value === 0 ? 0 : 55 + value * 40);
  return hex([Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level));
}
const hex = (parts) => `#${parts.map((part) => part.toString(16).padStart(2, '0')).join('')}`;
const grey = (level) => hex([level, level, level]);

function styled(style, codes) {
  const next = { ...style };
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) Object.assign(next, PLAIN);
    else if (code === 1) next.isBold = true;
    else if (code === 2) next.isDim = true;
    else if (code === 22) Object.assign(next, { isBold: false, isDim: false });
    else if (code === 39) next.color = PLAIN.color;
    else if (code >= 30 && code <= 37) next.color = PALETTE[code - 30];
    else if (code >= 90 && code <= 97) next.color = BRIGHT[code - 90];
    else if (code === 38 && codes[at + 1] === 5) [next.color, at] = [indexed(codes[at + 2]), at + 2];
  }
  return next;
}

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

/** Each character stands in its own cell: a font with other widths cannot pull the columns apart. */
function lineSvg(line, row) {
  let style = PLAIN;
  let column = 0;
  const spans = [];
  for (const part of line.split(/(\u001b\[[0-9;]*m)/)) {
    const code = /^\u001b\[([0-9;]*)m$/.exec(part);
    if (code) {
      style = styled(style, code[1].split(';').map(Number));
      continue;
    }
    if (part.trim() !== '') {
      const x = [...part].map((_, index) => (MARGIN + (column + index) * CELL.width).toFixed(1)).join(' ');
      const look = `fill="${style.color}"${style.isBold ? ' font-weight="bold"' : ''}${style.isDim ? ' opacity="0.6"' : ''}`;
      spans.push(`<tspan x="${x}" ${look}>${escaped(part)}</tspan>`);
    }
    column += [...part].length;
  }
  return spans.length === 0 ? '' : `<text y="${MARGIN + (row + 1) * CELL.height - 4}" xml:space="preserve">${spans.join('')}</text>`;
}

const lines = readFileSync(0, 'utf8').trimEnd().split('\n');
const plainLength = (line) => [...line.replaceAll(/\u001b\[[0-9;]*m/g, '')].length;
const width = Math.ceil(2 * MARGIN + Math.max(...lines.map(plainLength)) * CELL.width);
const height = 2 * MARGIN + lines.length * CELL.height;
console.log(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">
<rect width="100%" height="100%" rx="8" fill="#1e2127"/>
${lines.map(lineSvg).filter((line) => line !== '').join('\n')}
</svg>`);
