/** The charts, as SVG: bars that compare balancers, and curves that show how the cost of a pair grows. */
import type { Summary } from './report.ts';

const width = 880;
const panelHeight = 210;
const margin = { left: 52, right: 16, top: 34, bottom: 34 };
const legendHeight = 34;
const colours = ['#d9480f', '#f08c00', '#1c7ed6', '#2b8a3e', '#868e96', '#9c36b5', '#0c8599', '#c2255c'];

/** CPU time per message pair, one panel for each cell, one group of bars for each protocol. */
export function barChart(summaries: readonly Summary[]): string {
  const cells = unique(summaries.map(({ cell }) => cell));
  const balancers = unique(summaries.map(({ balancer }) => balancer));
  const height = legendHeight + cells.length * panelHeight;
  const colourOf = (balancer: string) => colours[balancers.indexOf(balancer) % colours.length]!;
  const legend = legendOf(balancers, colourOf);
  const panels = cells.map((cell, i) =>
    panel(
      cell,
      summaries.filter((summary) => summary.cell === cell),
      legendHeight + i * panelHeight,
      colourOf,
    ),
  );
  return svg(width, height, [legend, ...panels]);
}

function panel(
  cell: string,
  summaries: readonly Summary[],
  top: number,
  colourOf: (balancer: string) => string,
): string {
  const groups = unique(summaries.map(({ protocol }) => protocol));
  const plotWidth = width - margin.left - margin.right;
  const plotHeight = panelHeight - margin.top - margin.bottom;
  const base = top + margin.top + plotHeight;
  const most = Math.max(...summaries.map(({ cpuMicrosecondsPerPair }) => cpuMicrosecondsPerPair));
  const groupWidth = plotWidth / groups.length;
  const parts = [
    text(
      margin.left,
      top + 20,
      `${cell}: CPU µs of the balancer per request and answer, lower is better`,
      'font-weight="600"',
    ),
    `<line x1="${margin.left}" x2="${width - margin.right}" y1="${base}" y2="${base}" class="axis"/>`,
  ];
  for (const [i, protocol] of groups.entries()) {
    const bars = summaries.filter((summary) => summary.protocol === protocol);
    const barWidth = Math.min(44, (groupWidth - 24) / bars.length);
    const left = margin.left + i * groupWidth + (groupWidth - bars.length * barWidth) / 2;
    for (const [at, { balancer, cpuMicrosecondsPerPair, faults }] of bars.entries()) {
      const height = (plotHeight * cpuMicrosecondsPerPair) / most;
      const x = left + at * barWidth;
      const opacity = faults === '' ? 1 : 0.25; // does not count
      parts.push(
        `<rect x="${x + 2}" y="${base - height}" width="${barWidth - 4}" height="${height}" fill="${colourOf(balancer)}" opacity="${opacity}"/>`,
        text(
          x + barWidth / 2,
          base - height - 4,
          cpuMicrosecondsPerPair.toPrecision(3),
          'text-anchor="middle" font-size="10"',
        ),
      );
    }
    parts.push(text(margin.left + (i + 0.5) * groupWidth, base + 18, protocol, 'text-anchor="middle"'));
  }
  return parts.join('\n');
}

/** Small multiples: how the figure grows with one thing at a time, a curve for each name. */
export interface Panel {
  readonly title: string;
  /** Whether equal steps along the axis multiply; else they add. */
  readonly logarithmic: boolean;
  readonly curves: readonly { readonly name: string; readonly points: readonly Point[] }[];
}

interface Point {
  readonly x: number;
  /** CPU time per pair in microseconds. */
  readonly y: number;
}

const columns = 2;
const cellWidth = 440;
const cellHeight = 240;
const labelWidth = 36;
const plot = { left: 56, right: 20, top: 40, bottom: 34 };

export function curveChart(panels: readonly Panel[]): string {
  const names = unique(panels.flatMap(({ curves }) => curves.map(({ name }) => name)));
  const colourOf = (name: string) => colours[names.indexOf(name) % colours.length]!;
  const unit = text(columns * cellWidth - plot.right, 22, 'CPU µs per pair', 'text-anchor="end"');
  const drawn = panels.map((each, i) => {
    const place = `translate(${(i % columns) * cellWidth} ${legendHeight + Math.floor(i / columns) * cellHeight})`;
    return `<g transform="${place}">${curvePanel(each, colourOf)}</g>`;
  });
  const height = legendHeight + Math.ceil(panels.length / columns) * cellHeight;
  return svg(columns * cellWidth, height, [legendOf(names, colourOf), unit, ...drawn]);
}

function curvePanel({ title, logarithmic, curves }: Panel, colourOf: (name: string) => string): string {
  const points = curves.flatMap((curve) => curve.points);
  const xs = unique(points.map(({ x }) => x)).sort((one, other) => one - other);
  const scale = logarithmic ? Math.log : Number;
  const [from, to] = [scale(xs[0]!), scale(xs.at(-1)!)];
  const step = niceStep(Math.max(...points.map(({ y }) => y)));
  const steps = Math.ceil(Math.max(...points.map(({ y }) => y)) / step);
  const right = cellWidth - plot.right;
  const base = cellHeight - plot.bottom;
  const xOf = (x: number) => plot.left + ((right - plot.left) * (scale(x) - from)) / (to - from || 1);
  const yOf = (y: number) => base - ((base - plot.top) * y) / (steps * step);
  const parts = [text(plot.left, 20, title, 'font-weight="600"')];
  for (let i = 0; i <= steps; i++) {
    const y = yOf(i * step);
    parts.push(
      `<line x1="${plot.left}" x2="${right}" y1="${y}" y2="${y}" class="${i === 0 ? 'axis' : 'grid'}"/>`,
      text(plot.left - 8, y + 4, Number((i * step).toPrecision(3)), 'text-anchor="end"'),
    );
  }
  let labelled = Number.NEGATIVE_INFINITY;
  for (const x of xs) {
    // What would stand in a neighbour's place is left out.
    const isLast = x === xs.at(-1);
    if (!isLast && (xOf(x) - labelled < labelWidth || right - xOf(x) < labelWidth)) continue;
    labelled = xOf(x);
    parts.push(text(labelled, base + 18, short(x), 'text-anchor="middle"'));
  }
  for (const { name, points: its } of curves) {
    const path = its.map(({ x, y }) => `${xOf(x).toFixed(1)},${yOf(y).toFixed(1)}`);
    parts.push(`<polyline points="${path.join(' ')}" fill="none" stroke="${colourOf(name)}" stroke-width="2"/>`);
    for (const at of path) {
      const [x, y] = at.split(',');
      parts.push(`<circle cx="${x}" cy="${y}" r="3" fill="${colourOf(name)}"/>`);
    }
  }
  return parts.join('\n');
}

/** What each colour stands for, in one row. */
function legendOf(names: readonly string[], colourOf: (name: string) => string): string {
  let x = margin.left;
  const parts: string[] = [];
  for (const name of names) {
    parts.push(`<rect x="${x}" y="12" width="12" height="12" fill="${colourOf(name)}"/>`, text(x + 18, 22, name));
    x += 40 + 6.5 * name.length; // about as wide as its letters are
  }
  return parts.join('');
}

/** 1, 2 or 5 times a power of ten, so that about four of them reach `most`. */
function niceStep(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 4));
  return power * [1, 2, 5, 10].find((times) => times * power >= most / 4)!;
}

function short(value: number): string {
  if (value >= 1024 && value % 1024 === 0) return `${value / 1024} Ki`;
  return value >= 1000 && value % 1000 === 0 ? `${value / 1000} k` : String(value);
}

/** Neutral on white; where the reader's system is dark, on black. */
const style = `text { fill: #212529 } .paper { fill: #fff } .axis { stroke: #868e96 } .grid { stroke: #dee2e6 }
@media (prefers-color-scheme: dark) {
  text { fill: #dee2e6 } .paper { fill: #16181b } .axis { stroke: #868e96 } .grid { stroke: #343a40 }
}`;

function svg(wide: number, high: number, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wide} ${high}" font-family="system-ui, sans-serif" font-size="12">`,
    '<title>CPU time for each pair of request and answer</title>',
    `<style>${style}</style>`,
    `<rect width="${wide}" height="${high}" class="paper"/>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function text(x: number, y: number, content: string | number, attributes = ''): string {
  return `<text x="${x}" y="${y}" ${attributes}>${content}</text>`;
}

function unique<Value>(values: readonly Value[]): Value[] {
  return [...new Set(values)];
}
