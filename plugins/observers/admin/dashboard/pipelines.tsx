/** Each listener's pipeline, with what runs how often, and why messages go where they go. */
import type { ListenerRow } from './api.ts';
import { integer, rate } from './text.ts';

const main = ['onConnect', 'frame', 'detectId', 'chooseBackend', 'insertId', 'forward'];

const about: Readonly<Record<string, string>> = {
  onConnect: 'a client connects',
  frame: 'where does the message end?',
  detectId: 'whom does it name?',
  chooseBackend: 'nobody named: who gets it?',
  insertId: 'write the identifier',
  forward: 'on to the link',
};

export function Pipelines({ listeners }: { listeners: readonly ListenerRow[] }) {
  return (
    <section id="pipelines" aria-labelledby="pipelines-title">
      <h2 id="pipelines-title">Pipelines</h2>
      {listeners.map((listener) => (
        <Pipeline key={listener.name} listener={listener} />
      ))}
    </section>
  );
}

function Pipeline({ listener }: { listener: ListenerRow }) {
  const { name, listen, pool, links, connections, hooks, stats } = listener;
  const hookOf = (hook: string) => hooks.find((each) => each.hook === hook);
  const side = hooks.filter(
    ({ hook, perSecond, plugins }) => !main.includes(hook) && (plugins.length > 0 || perSecond !== null),
  );
  return (
    <article class="card pipeline">
      <header>
        <h3>{name}</h3>
        <p>
          <code>{listen}</code> → <strong>{pool}</strong> over {links} links · {integer(connections)} clients
        </p>
      </header>
      <ol class="hooks">
        {main.map((hook) => {
          const found = hookOf(hook);
          return (
            <li key={hook}>
              <span class="hook">{hook}</span>
              <span class="rate">
                {found?.perSecond == null ? '–' : rate(found.perSecond)}
                <span class="unit"> /s</span>
              </span>
              <span class="taps">
                {found !== undefined && found.plugins.length > 0 ? found.plugins.join(', ') : about[hook]}
              </span>
            </li>
          );
        })}
      </ol>
      <p class="side">
        {side.map(({ hook, perSecond, plugins }) => (
          <span key={hook} title={plugins.join(', ')}>
            {hook} <b>{perSecond === null ? '–' : `${rate(perSecond)} /s`}</b>
          </span>
        ))}
      </p>
      {stats !== null && <Reasons stats={stats} routesPerSecond={listener.routesPerSecond} />}
    </article>
  );
}

const reasons = [
  ['identifier', 'its identifier names the destination'],
  ['affinity', 'a related message went there'],
  ['strategy', 'the strategy chose'],
  ['rechosen', 'the backend it named was down or gone'],
  ['correlation', 'it answers a request of that client'],
  ['link', 'its link has one client only'],
  ['replayed', 'the backend that had it went away'],
] as const;

/** Why an identifier is not followed. */
const notFollowed = ['forged-identifier', 'unknown-backend', 'backend-down'];

interface ReasonsGiven extends Pick<ListenerRow, 'routesPerSecond'> {
  readonly stats: NonNullable<ListenerRow['stats']>;
}

/** What identifiers and the affinity table do. */
function Reasons({ stats, routesPerSecond }: ReasonsGiven) {
  const { routes, affinity, exchanges, redispatched } = stats;
  const now = (reason: string) => routesPerSecond[reason] ?? 0;
  const most = Math.max(1, ...reasons.map(([reason]) => now(reason)));
  const { refusedFor } = stats.fromClients;
  const misnamed = notFollowed.reduce((sum, reason) => sum + (refusedFor[reason] ?? 0), 0);
  const lost = [stats.fromClients, stats.fromBackends].flatMap(({ refusedFor, discardedFor }) => [
    ...Object.entries(refusedFor).map(([reason, count]) => ({ what: 'refused', reason, count })),
    ...Object.entries(discardedFor).map(([reason, count]) => ({ what: 'discarded', reason, count })),
  ]);
  return (
    <div class="reasons">
      <div>
        <h4>Why messages go where they go</h4>
        <p class="bars-head" aria-hidden="true">
          <span>now /s</span>
          <span>in all</span>
        </p>
        <ul class="bars">
          {reasons.map(([reason, meaning]) => (
            <li key={reason} title={meaning}>
              <span>{reason}</span>
              <meter min={0} max={1} value={now(reason) / most} aria-label={`${reason}: ${meaning}`} />
              <span class="number">{rate(now(reason))}</span>
              <span class="number muted">{integer(routes[reason])}</span>
            </li>
          ))}
        </ul>
      </div>
      <dl class="facts">
        <div>
          <dt>Identifiers</dt>
          <dd>
            {integer(routes.identifier)} followed, {integer(routes.rechosen)} chosen anew, {integer(misnamed)} refused
          </dd>
        </div>
        <div>
          <dt>Affinity table</dt>
          <dd>
            {integer(affinity.entries)} ids, {integer(affinity.evicted)} evicted
          </dd>
        </div>
        <div>
          <dt>Requests that wait</dt>
          <dd>
            {integer(exchanges.open)}, {integer(exchanges.expired)} given up on, {integer(exchanges.abandoned)} lost
            with their backend
          </dd>
        </div>
        <div>
          <dt>Sent elsewhere</dt>
          <dd>{integer(redispatched)} as the first backend could not be reached</dd>
        </div>
        <div>
          <dt>Refused, discarded</dt>
          <dd>
            {lost.length === 0
              ? 'none'
              : lost.map(({ what, reason, count }) => `${reason} ${integer(count)} ${what}`).join(', ')}
          </dd>
        </div>
      </dl>
    </div>
  );
}
