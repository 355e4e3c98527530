/** Where messages go and why, as it happens. Nothing is told while it is paused. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { listen, type ServerEvent } from './api.ts';
import { integer } from './text.ts';

/** How many are shown. */
const mostShown = 100;
/** How often what has come is drawn. */
const drawMs = 250;
/** How long typing in a filter may pause before it is applied. */
const settleMs = 300;

type Shown = ServerEvent & { readonly key: number };

export function Decisions() {
  const [isPaused, setPaused] = useState(false);
  const [filter, setFilter] = useState({ backend: '', client: '', reason: '' });
  const [applied, setApplied] = useState('');
  const [events, setEvents] = useState<readonly Shown[]>([]);
  const [leftOut, setLeftOut] = useState(0);
  const lastKey = useRef(0);

  useEffect(() => {
    const query = new URLSearchParams({ types: 'decision,left-out' });
    for (const [name, value] of Object.entries(filter)) if (value.trim() !== '') query.set(name, value.trim());
    const timer = setTimeout(() => setApplied(String(query)), settleMs);
    return () => clearTimeout(timer);
  }, [filter]);

  useEffect(() => {
    if (isPaused || applied === '') return undefined;
    let come: Shown[] = [];
    let more = 0;
    const stop = listen(
      applied,
      (event) => {
        if (event.type === 'decision') come.push({ ...event, key: ++lastKey.current });
        else more += Number(event.data.count ?? 0);
      },
      () => {},
    );
    const timer = setInterval(() => {
      if (come.length > 0) {
        const fresh = come.reverse();
        come = [];
        setEvents((before) => [...fresh, ...before].slice(0, mostShown));
      }
      if (more > 0) {
        const count = more;
        more = 0;
        setLeftOut((before) => before + count);
      }
    }, drawMs);
    return () => {
      stop();
      clearInterval(timer);
    };
  }, [isPaused, applied]);

  const field = (name: keyof typeof filter, placeholder: string) => (
    <input
      type="search"
      placeholder={placeholder}
      aria-label={`Only decisions by ${name}`}
      value={filter[name]}
      onInput={(event) => setFilter({ ...filter, [name]: event.currentTarget.value })}
    />
  );

  return (
    <section id="decisions" aria-labelledby="decisions-title">
      <div class="heading">
        <h2 id="decisions-title">Decisions</h2>
        <p class="count">{leftOut > 0 && `${integer(leftOut)} more were not told`}</p>
        <form class="tools" onSubmit={(event) => event.preventDefault()}>
          {field('backend', 'Backend')}
          {field('client', 'Client address')}
          {field('reason', 'Reason')}
          <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
            {isPaused ? 'Resume' : 'Pause'}
          </button>
          <button type="button" onClick={() => setEvents([])}>
            Clear
          </button>
        </form>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: who scrolls by keyboard must be able to get there */}
      <section class="scroll stream" tabIndex={0} aria-label="Table of decisions">
        <table class="decisions">
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Listener</th>
              <th scope="col">From</th>
              <th scope="col">To</th>
              <th scope="col">Outcome</th>
              <th scope="col">Reason</th>
              <th scope="col" class="n">
                Bytes
              </th>
            </tr>
          </thead>
          <tbody>
            {events.map(({ key, data }) => {
              const client = data.client === '' ? 'unix' : (data.client ?? '–');
              const backend = data.backend ?? '–';
              const [from, to] = data.from === 'backend' ? [backend, client] : [client, backend];
              return (
                <tr key={key} class={String(data.outcome)}>
                  <td data-title="Time">{String(data.at).slice(11, 23)}</td>
                  <td data-title="Listener">{data.listener}</td>
                  <td data-title="From">{from}</td>
                  <td data-title="To">{to}</td>
                  <td data-title="Outcome">
                    <span aria-hidden="true">
                      {data.outcome === 'forwarded' ? '→' : data.outcome === 'refused' ? '↩' : '✕'}
                    </span>{' '}
                    {data.outcome}
                  </td>
                  <td data-title="Reason">{data.reason}</td>
                  <td data-title="Bytes" class="n">
                    {integer(Number(data.bytes))}
                  </td>
                </tr>
              );
            })}
            {events.length === 0 && (
              <tr>
                <td colSpan={7} class="none">
                  {isPaused ? 'Paused.' : 'No message yet.'}
                </td>
              </tr>
            )}
          </tbody>
        </table>
      </section>
    </section>
  );
}
