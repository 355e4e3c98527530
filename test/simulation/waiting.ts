/** Plugins that make others wait: clients before they are read from, links before anything else is sent on them. */
import { type Clock, definePlugin, type Link, Type } from 'pointsman';

/** Calls back after some time; what is left when its pipeline ends, then. */
class Delays {
  readonly #clock: Clock;
  readonly #left = new Map<() => void, () => void>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  later(callback: () => void): void {
    const cancel = this.#clock.after(this.#clock.random() * 500, () => {
      this.#left.delete(callback);
      callback();
    });
    this.#left.set(callback, cancel);
  }

  end(): void {
    for (const [callback, cancel] of this.#left) {
      cancel();
      callback();
    }
    this.#left.clear();
  }
}

export const doorkeeper = definePlugin({
  name: 'doorkeeper',
  summary: 'Lets every client in, later.',
  pointsman: '^1',
  options: Type.Object({}),
  apply(hooks, _options, { clock, onStop }) {
    const delays = new Delays(clock);
    hooks.onConnect.tap('doorkeeper', () => new Promise((resolve) => delays.later(() => resolve(undefined))));
    onStop(() => delays.end());
  },
});

export const greeter = definePlugin({
  name: 'greeter',
  summary: 'Holds every link for a moment.',
  pointsman: '^1',
  options: Type.Object({}),
  apply(hooks, _options, { clock, onStop }) {
    const delays = new Delays(clock);
    hooks.onLink.tap('greeter', (link: Link) => {
      link.hold();
      delays.later(() => link.release());
    });
    onStop(() => delays.end());
  },
});
