/** Defines metrics of listeners, directions and backends. Their values are read from the statistics whenever somebody asks. */
import type { BackendStats, BalancerStats, DirectionStats, ListenerStats, LogFaults } from 'pointsman';
import type { Registry } from 'prom-client';

/** How many reasons one listener may have in a metric: plugins can make up reasons, and further ones are counted as one. */
const mostReasons = 64;

export type PromClient = typeof import('prom-client');
type Values<Label extends string> = (
  add: (labels: Readonly<Partial<Record<Label, string>>>, value: number) => void,
) => void;
type Kind = 'counter' | 'gauge';

/** Defines metrics that have no values of their own: they are read whenever somebody asks; of counters the sums so far. */
export class Definer {
  readonly stats: () => BalancerStats;
  readonly #client: PromClient;
  readonly #registers: Registry[];

  constructor(client: PromClient, registry: Registry, stats: () => BalancerStats) {
    this.#client = client;
    this.#registers = [registry];
    this.stats = stats;
  }

  counter<Label extends string>(name: string, help: string, labelNames: readonly Label[], read: Values<Label>): void {
    this.#define('counter', name, help, labelNames, read);
  }

  gauge<Label extends string>(name: string, help: string, labelNames: readonly Label[], read: Values<Label>): void {
    this.#define('gauge', name, help, labelNames, read);
  }

  listeners(): [name: string, stats: ListenerStats][] {
    return Object.entries(this.stats().listeners);
  }

  /** One number for each listener. */
  ofListeners(kind: Kind, name: string, help: string, of: (stats: ListenerStats) => number): void {
    this.#define(kind, name, help, ['listener'], (add) => {
      for (const [listener, its] of this.listeners()) add({ listener }, of(its));
    });
  }

  /** One number for each listener and direction. */
  ofDirections(kind: Kind, name: string, help: string, of: (stats: DirectionStats) => number): void {
    this.#define(kind, name, help, ['listener', 'from'], (add) => {
      for (const [listener, its] of this.listeners()) {
        for (const [from, direction] of directionsOf(its)) add({ listener, from }, of(direction));
      }
    });
  }

  /** One number for each listener, direction and reason, and for whether somebody misses the message. */
  ofReasons(name: string, help: string, what: 'refusedFor' | 'discardedFor'): void {
    this.counter(name, help, ['listener', 'from', 'reason', 'ordinary'], (add) => {
      for (const [listener, its] of this.listeners()) {
        for (const [from, direction] of directionsOf(its)) {
          for (const [index, [name, count]] of Object.entries(direction[what]).entries()) {
            const reason = index < mostReasons ? name : 'other';
            const ordinary = direction.ordinary[what][name] ?? 0;
            if (count > ordinary) add({ listener, from, reason, ordinary: 'false' }, count - ordinary);
            if (ordinary > 0) add({ listener, from, reason, ordinary: 'true' }, ordinary);
          }
        }
      }
    });
  }

  /** One number for each listener and backend. */
  ofBackends(kind: Kind, name: string, help: string, of: (stats: BackendStats) => number): void {
    this.#define(kind, name, help, ['listener', 'backend'], (add) => {
      for (const [listener, { backends }] of this.listeners()) {
        for (const [backend, its] of Object.entries(backends)) add({ listener, backend }, of(its));
      }
    });
  }

  /** One number for each log. */
  ofLogs(name: string, help: string, of: (faults: LogFaults) => number): void {
    this.counter(name, help, ['log'], (add) => {
      for (const [log, faults] of Object.entries(this.stats().faults?.logs ?? {})) add({ log }, of(faults));
    });
  }

  #define<Label extends string>(
    kind: Kind,
    name: string,
    help: string,
    labelNames: readonly Label[],
    read: Values<Label>,
  ): void {
    const { Counter, Gauge } = this.#client;
    const Metric: typeof Counter | typeof Gauge = kind === 'counter' ? Counter : Gauge;
    new Metric<Label>({
      name: `pointsman_${name}`,
      help,
      labelNames,
      registers: this.#registers,
      collect() {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    });
  }
}

/** Replayed requests are a direction of their own, and so are checks over links. */
const directionsOf = ({ fromClients, fromBackends, replays, checks }: ListenerStats) => [
  ['client', fromClients] as const,
  ['backend', fromBackends] as const,
  ['replay', replays] as const,
  ['check', checks] as const,
];
