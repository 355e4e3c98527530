/** The chart: CPU time per message pair, one panel for each cell, one group of bars for each protocol. */
import type { Summary } from './report.ts';

const width = 880;
const panelHeight = 210;
const margin = { left: 52, right: 16, top: 34, bottom: 34 };
const legendHeight = 34;
const colours = ['#d9480f', '#f08c00', '#1c7ed6', '#2b8a3e', '#868e96', '#9c36b5'];

export function chart(summaries: readonly Summary[]): string {
  const cells = unique(summaries.map(({ cell }) => cell));
  const balancers = unique(summaries.map(({ balancer }) => balancer));
  const height = legendHeight + cells.length * panelHeight;
  const colourOf = (balancer: string) => colours[balancers.indexOf(balancer) % colours.length]!;
  const legend = balancers.map((balancer, i) => {
    const x = margin.left + i * 130;
    return `<rect x="${x}" y="12" width="12" height="12" fill="${colourOf(balancer)}"/>${text(x + 18, 22, balancer)}`;
  });
  const panels = cells.map((cell, i) =>
    panel(
      cell,
      summaries.filter((summary) => summary.cell === cell),
      legendHeight + i * panelHeight,
      colourOf,
    ),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...legend,
    ...panels,
    '</svg>\n',
  ].join('\n');
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
    `<line x1="${margin.left}" x2="${width - margin.right}" y1="${base}" y2="${base}" stroke="#adb5bd"/>`,
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

function text(x: number, y: number, content: string, attributes = ''): string {
  return `<text x="${x}" y="${y}" fill="#212529" ${attributes}>${content}</text>`;
}

function unique<Value>(values: readonly Value[]): Value[] {
  return [...new Set(values)];
}
