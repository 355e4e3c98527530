/** The last 15 minutes. */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { HistoryPoint } from './api.ts';
import { integer, milliseconds, rate } from './text.ts';

interface Series {
  readonly label: string;
  /** The name of a colour in the style sheet. */
  readonly colour: string;
  readonly of: (point: HistoryPoint) => number | null;
  /** Told apart from the others without colour. */
  readonly dash?: number[];
}

interface ChartProps {
  readonly title: string;
  readonly unit: string;
  readonly points: readonly HistoryPoint[];
  readonly series: readonly Series[];
  readonly show: (value: number) => string;
}

export function Charts({ points }: { points: readonly HistoryPoint[] }) {
  return (
    <section class="charts" aria-label="The last 15 minutes">
      <Chart
        title="Messages"
        unit="/s"
        points={points}
        show={rate}
        series={[
          { label: 'forwarded', colour: '--accent', of: (point) => point.forwardedPerSecond },
          { label: 'refused', colour: '--warn', of: (point) => point.refusedPerSecond, dash: [6, 4] },
          { label: 'discarded', colour: '--bad', of: (point) => point.discardedPerSecond, dash: [2, 3] },
        ]}
      />
      <Chart
        title="Time to answer"
        unit="ms"
        points={points}
        show={milliseconds}
        series={[
          { label: 'median', colour: '--accent', of: (point) => point.p50Ms },
          { label: '99 in 100', colour: '--muted', of: (point) => point.p99Ms, dash: [6, 4] },
        ]}
      />
      <Chart
        title="In flight, clients"
        unit=""
        points={points}
        show={integer}
        series={[
          { label: 'in flight', colour: '--accent', of: (point) => point.inFlight },
          { label: 'clients', colour: '--muted', of: (point) => point.connections, dash: [6, 4] },
        ]}
      />
    </section>
  );
}

const height = 132;

function Chart({ title, unit, points, series, show }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const data = [
    points.map(({ at }) => Date.parse(at) / 1000),
    ...series.map(({ of }) => points.map(of)),
  ] as uPlot.AlignedData;

  useEffect(() => {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(optionsFor(place.current!, series, show), data, place.current!);
    };
    draw();
    const resize = new ResizeObserver(() => plot.current?.setSize({ width: place.current!.clientWidth, height }));
    resize.observe(place.current!);
    dark.addEventListener('change', draw);
    return () => {
      dark.removeEventListener('change', draw);
      resize.disconnect();
      plot.current?.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(data), [points]);

  const last = points.at(-1);
  const now = series.map(({ label, of }) => {
    const value = last === undefined ? null : of(last);
    return `${label} ${value === null ? '–' : `${show(value)} ${unit}`.trim()}`;
  });
  return (
    <figure class="card chart">
      <figcaption>
        <h2>{title}</h2>
        <ul class="legend">
          {series.map(({ label, colour, dash }, index) => (
            <li key={label}>
              <svg width="18" height="6" aria-hidden="true">
                <line
                  x1="0"
                  x2="18"
                  y1="3"
                  y2="3"
                  class={`line ${colour.slice(2)}`}
                  stroke-dasharray={dash?.join(' ')}
                />
              </svg>
              {now[index]}
            </li>
          ))}
        </ul>
      </figcaption>
      <div ref={place} role="img" aria-label={`${title} in the last 15 minutes; now ${now.join(', ')}`} />
    </figure>
  );
}

function optionsFor(place: HTMLElement, series: readonly Series[], show: (value: number) => string): uPlot.Options {
  const styles = getComputedStyle(document.documentElement);
  const colour = (name: string) => styles.getPropertyValue(name).trim();
  const axis = {
    stroke: colour('--muted'),
    grid: { stroke: colour('--line'), width: 1 },
    ticks: { show: false },
    font: '11px ui-sans-serif, system-ui, sans-serif',
  };
  return {
    width: Math.max(200, place.clientWidth),
    height,
    cursor: { show: false },
    legend: { show: false },
    padding: [8, 8, 0, 0],
    scales: {
      x: { time: true, range: (_plot, _least, most) => [most - 900, most] },
      y: { range: (_plot, _least, most) => [0, Math.max(1, most ?? 1) * 1.1] },
    },
    axes: [
      { ...axis, space: 70, size: 26, values: [[60, '{HH}:{mm}', null, null, null, null, null, null, 1]] },
      {
        ...axis,
        space: 34,
        size: 52,
        values: (_plot, values) => values.map((value) => show(value).replace(/\.0+$/, '')),
      },
    ],
    series: [
      {},
      ...series.map(({ label, colour: name, dash }, index) => ({
        label,
        stroke: colour(name),
        width: index === 0 ? 2 : 1.5,
        ...(dash !== undefined && { dash }),
        ...(index === 0 && { fill: `${colour(name)}18` }),
        points: { show: false },
        spanGaps: false,
      })),
    ],
  };
}
