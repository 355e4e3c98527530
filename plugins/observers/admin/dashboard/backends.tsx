/** The backends, with the columns that operators know from HAProxy, and what they can be told. */
import { memo } from 'preact/compat';
import { useMemo, useState } from 'preact/hooks';
import { type BackendRow, changeBackend } from './api.ts';
import { duration, integer, milliseconds, rate } from './text.ts';

const shapes: Readonly<Record<BackendRow['status'], string>> = {
  up: '●',
  drain: '◐',
  maint: '○',
  down: '✕',
  failing: '✕',
  ejected: '◌',
};

/** Which states are shown: `all`, `trouble` for those that are not up, or one. */
export type Only = 'all' | 'trouble' | BackendRow['status'];

interface Tools {
  readonly rows: readonly BackendRow[];
  readonly only: Only;
  readonly onOnly: (only: Only) => void;
  /** Tells the operator what has come of something. */
  readonly say: (text: string) => void;
  readonly onChanged: () => void;
}

export function Backends({ rows, only, onOnly, say, onChanged }: Tools) {
  const [search, setSearch] = useState('');
  const shown = useMemo(() => {
    const text = search.trim().toLowerCase();
    return rows.filter(
      ({ pool, name, address, status }) =>
        (only === 'all' || (only === 'trouble' ? status !== 'up' : status === only)) &&
        (text === '' || `${pool}/${name} ${address}`.toLowerCase().includes(text)),
    );
  }, [rows, search, only]);

  const change = async (row: BackendRow, given: { state?: string; weight?: number }) => {
    const what = given.state ?? `weight ${given.weight}`;
    try {
      await changeBackend(row.pool, row.name, given);
      say(`${row.pool}/${row.name}: ${what}.`);
      onChanged();
    } catch (error) {
      say(`${row.pool}/${row.name}: ${what} failed: ${(error as Error).message}.`);
    }
  };

  return (
    <section id="backends" aria-labelledby="backends-title">
      <div class="heading">
        <h2 id="backends-title">Backends</h2>
        <p class="count">
          {shown.length === rows.length ? integer(rows.length) : `${integer(shown.length)} of ${integer(rows.length)}`}
        </p>
        <form class="tools" onSubmit={(event) => event.preventDefault()}>
          <input
            type="search"
            placeholder="Find by name or address"
            aria-label="Find backends by name or address"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
          <select
            aria-label="Show backends that are"
            value={only}
            onChange={(event) => onOnly(event.currentTarget.value as Only)}
          >
            <option value="all">all states</option>
            <option value="trouble">not up</option>
            {Object.keys(shapes).map((status) => (
              <option key={status} value={status}>
                {status}
              </option>
            ))}
          </select>
        </form>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: who scrolls by keyboard must be able to get there */}
      <section class="scroll" tabIndex={0} aria-label="Table of backends">
        <table class="backends">
          <thead>
            <tr>
              <th scope="col">Backend</th>
              <th scope="col">Status</th>
              <th scope="col">Weight</th>
              <th scope="col">Check</th>
              <th scope="col" class="n">
                Sessions
              </th>
              <th scope="col" class="n">
                Messages/s
              </th>
              <th scope="col" class="n">
                In flight
              </th>
              <th scope="col" class="n">
                Queue
              </th>
              <th scope="col" class="n">
                Errors
              </th>
              <th scope="col" class="n">
                p50 ms
              </th>
              <th scope="col" class="n">
                p99 ms
              </th>
              <th scope="col" class="n">
                Downtime
              </th>
              <th scope="col">Set state</th>
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <Row key={`${row.pool}/${row.name}`} row={row} change={change} />
            ))}
            {shown.length === 0 && (
              <tr>
                <td colSpan={13} class="none">
                  No backend is like that.
                </td>
              </tr>
            )}
          </tbody>
        </table>
      </section>
    </section>
  );
}

interface RowTools {
  readonly row: BackendRow;
  readonly change: (row: BackendRow, given: { state?: string; weight?: number }) => void;
}

/** What has not changed is not drawn again: with 200 backends most have not. */
const Row = memo(
  ({ row, change }: RowTools) => {
    const { pool, name, address, status, why, checks, weight, currentWeight } = row;
    const title = `${pool}/${name}`;
    return (
      <tr class={status}>
        <th scope="row">
          <span class="name">{name}</span>
          <span class="sub">
            {pool} · <code>{address}</code>
          </span>
        </th>
        <td data-title="Status">
          <span class={`status ${status}`}>
            <span aria-hidden="true">{shapes[status]}</span> {status}
          </span>
          {why !== '' && status !== 'up' && <span class="sub">{why}</span>}
        </td>
        <td data-title="Weight">
          <Weight title={title} weight={weight} onChange={(given) => change(row, { weight: given })} />
          {currentWeight < weight && <span class="sub">now {currentWeight}</span>}
        </td>
        <td data-title="Check">
          <span class="check">
            {checks.passed + checks.failed === 0
              ? '–'
              : `${integer(checks.passed)} ok, ${integer(checks.failed)} failed`}
          </span>
          {checks.last !== undefined && (status === 'up' || checks.last !== why) && (
            <span class="sub short" title={checks.last}>
              {checks.last}
            </span>
          )}
        </td>
        <td data-title="Sessions" class="n">
          {integer(row.sessions)}
        </td>
        <td data-title="Messages/s" class="n">
          {rate(row.messagesPerSecond)}
        </td>
        <td data-title="In flight" class="n">
          {integer(row.inFlight)}
        </td>
        <td data-title="Queue" class="n">
          {integer(row.queued)}
        </td>
        <td data-title="Errors" class="n">
          {integer(row.failedConnects + row.unanswered)}
          {row.failedConnects > 0 && <span class="sub">{integer(row.failedConnects)} connects</span>}
          {row.unanswered > 0 && <span class="sub">{integer(row.unanswered)} unanswered</span>}
        </td>
        <td data-title="p50 ms" class="n">
          {milliseconds(row.p50Ms)}
        </td>
        <td data-title="p99 ms" class="n">
          {milliseconds(row.p99Ms)}
        </td>
        <td data-title="Downtime" class="n">
          {row.downSeconds === 0 ? '–' : duration(row.downSeconds)}
        </td>
        <td data-title="Set state" class="do">
          {/* biome-ignore lint/a11y/useSemanticElements: a fieldset in a cell is announced twice */}
          <span class="choice" role="group" aria-label={`State of ${title}`}>
            {(['ready', 'drain', 'maint'] as const).map((state) => (
              <button
                key={state}
                type="button"
                aria-pressed={row.state === state}
                onClick={() => row.state !== state && change(row, { state })}
              >
                {state}
              </button>
            ))}
          </span>
        </td>
      </tr>
    );
  },
  (before, after) => JSON.stringify(before.row) === JSON.stringify(after.row),
);

function Weight({ title, weight, onChange }: { title: string; weight: number; onChange: (weight: number) => void }) {
  const [edited, setEdited] = useState<string>();
  return (
    <input
      class="weight"
      type="number"
      min={0}
      step="any"
      inputMode="decimal"
      aria-label={`Weight of ${title}`}
      value={edited ?? String(weight)}
      onInput={(event) => setEdited(event.currentTarget.value)}
      onChange={(event) => {
        const given = Number(event.currentTarget.value);
        const isGood = event.currentTarget.value !== '' && Number.isFinite(given) && given >= 0;
        if (isGood && given !== weight) onChange(given);
        setEdited(undefined);
      }}
    />
  );
}
