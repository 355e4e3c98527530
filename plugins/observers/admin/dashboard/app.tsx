/** The page: a balancer at a glance, kept up to date by its events. */
import { useCallback, useEffect, useState } from 'preact/hooks';
import { ApiError, getHistory, getStats, type HistoryPoint, listen, type Overview, setToken, token } from './api.ts';
import { Backends, type Only } from './backends.tsx';
import { Charts } from './charts.tsx';
import { Config } from './config.tsx';
import { Decisions } from './decisions.tsx';
import { Login } from './login.tsx';
import { Pipelines } from './pipelines.tsx';
import { duration, integer, milliseconds, rate } from './text.ts';
import { Troubles } from './troubles.tsx';

/** How often the charts get what is new: as often as there is a new point. */
const historyMs = 5000;

export function App() {
  const [isLocked, setLocked] = useState(false);
  const [fault, setFault] = useState<string>();
  const [overview, setOverview] = useState<Overview>();
  const [history, setHistory] = useState<readonly HistoryPoint[]>([]);
  const [isLive, setLive] = useState(false);
  const [said, say] = useState('');
  const [attempt, setAttempt] = useState(0);
  const [only, setOnly] = useState<Only>('all');

  const lock = useCallback((error: unknown) => {
    if (!(error instanceof ApiError) || error.status !== 401) return;
    // Several questions may have been asked with it.
    if (token() !== null) setFault('That token is not the right one.');
    setToken(null);
    setLocked(true);
  }, []);

  useEffect(() => {
    if (isLocked) return undefined;
    getStats().then(setOverview, lock);
    return listen(
      'types=stats,state',
      ({ type, data }) => {
        if (type === 'stats') setOverview(data as unknown as Overview);
        else if (type === 'state' && data.status !== data.was)
          say(`${data.pool}/${data.backend} is ${data.status}, was ${data.was}.`);
      },
      (connected, error) => {
        setLive(connected);
        if (error !== undefined) lock(error);
      },
    );
  }, [isLocked, attempt]);

  useEffect(() => {
    if (isLocked) return undefined;
    const fetchHistory = () => getHistory().then(({ points }) => setHistory(points), lock);
    fetchHistory();
    const timer = setInterval(fetchHistory, historyMs);
    return () => clearInterval(timer);
  }, [isLocked, attempt]);

  if (isLocked) {
    return (
      <Login
        fault={fault}
        onToken={(given) => {
          setToken(given);
          setFault(undefined);
          setLocked(false);
          setAttempt((count) => count + 1);
        }}
      />
    );
  }

  return (
    <>
      <a class="skip" href="#backends">
        Skip to the backends
      </a>
      <header class="top">
        <div class="top-inner">
          <h1>
            <img src="/icon.svg" alt="" width="26" height="26" />
            pointsman
          </h1>
          <nav aria-label="Sections">
            <a href="#pipelines">Pipelines</a>
            <a href="#backends">Backends</a>
            <a href="#decisions">Decisions</a>
            <a href="#config">Config</a>
          </nav>
          <p class="meta">
            {overview !== undefined && (
              <span>
                {overview.version} · up {duration(overview.uptimeSeconds)}
                {overview.workers > 1 && ` · ${overview.workers} workers`}
              </span>
            )}
            <Live isLive={isLive} phase={overview?.phase} />
          </p>
        </div>
      </header>
      <main>
        {overview === undefined ? (
          <p class="waiting">Waiting for the balancer …</p>
        ) : (
          <>
            <Glance overview={overview} last={history.at(-1)} />
            <Troubles
              troubles={overview.troubles}
              onBackends={() => {
                setOnly('trouble');
                document.getElementById('backends')?.scrollIntoView();
              }}
            />
            <Charts points={history} />
            <Pipelines listeners={overview.listeners} />
            <Backends
              rows={overview.backends}
              only={only}
              onOnly={setOnly}
              say={say}
              onChanged={() => getStats().then(setOverview, lock)}
            />
            <Decisions />
            <Config />
          </>
        )}
      </main>
      <p class="said" role="status">
        {said !== '' && (
          <>
            {said}
            <button type="button" class="quiet" aria-label="Dismiss" onClick={() => say('')}>
              ×
            </button>
          </>
        )}
      </p>
    </>
  );
}

function Live({ isLive, phase }: { isLive: boolean; phase: string | undefined }) {
  const [shape, word, look] = !isLive
    ? ['◌', 'reconnecting', 'warn']
    : phase === 'running'
      ? ['●', 'live', 'good']
      : ['◐', phase ?? 'live', 'warn'];
  return (
    <span class={`live ${look}`}>
      <span aria-hidden="true">{shape}</span> {word}
    </span>
  );
}

function Glance({ overview, last }: { overview: Overview; last: HistoryPoint | undefined }) {
  const { listeners, backends } = overview;
  const total = (what: string) => listeners.reduce((sum, { rates }) => sum + (rates[what] ?? 0), 0);
  const up = backends.filter(({ status }) => status === 'up').length;
  const lost = total('refused') + total('discarded');
  const figures: readonly (readonly [name: string, value: string, unit: string, look?: string])[] = [
    ['Requests', rate(total('requests')), '/s'],
    ['Answers', rate(total('answers')), '/s'],
    ['In flight', integer(last?.inFlight ?? 0), ''],
    ['Median answer', milliseconds(last?.p50Ms ?? null), 'ms'],
    ['99 in 100 within', milliseconds(last?.p99Ms ?? null), 'ms'],
    ['Refused, discarded', rate(lost), '/s', lost > 0 ? 'warn' : undefined],
    ['Clients', integer(listeners.reduce((sum, { connections }) => sum + connections, 0)), ''],
    ['Backends up', `${up}`, `of ${backends.length}`, up < backends.length ? 'warn' : undefined],
  ].map((figure) => figure as unknown as readonly [string, string, string, string?]);
  return (
    <section class="glance" aria-label="At a glance">
      <dl>
        {figures.map(([name, value, unit, look]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd class={look ?? ''}>
              {value}
              {unit !== '' && <span class="unit"> {unit}</span>}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
