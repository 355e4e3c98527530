import { expect, it } from 'vitest';
import { BackendStates } from '../../../core/workers/backend-states.ts';

function states() {
  const now = { ms: 0 };
  const both = new BackendStates(() => now.ms);
  const tell = (worker: number, up: boolean, backend = 'a') =>
    both.tell(worker, {
      listener: 'edge',
      pool: 'pool',
      backend,
      aspect: 'link',
      up,
      error: up ? undefined : 'refused',
    });
  return { now, tell, both };
}

it('is news when the first worker finds a backend down, and when the last one finds it up again', () => {
  const { tell } = states();
  expect(tell(1, false)).toMatchObject({ isNews: true, downIn: 1 });
  expect(tell(2, false)).toMatchObject({ isNews: false, downIn: 2 });
  expect(tell(1, true)).toMatchObject({ isNews: false, downIn: 1 });
  expect(tell(2, true)).toMatchObject({ isNews: true, downIn: 0 });
});

it('tells backends apart', () => {
  const { tell } = states();
  tell(1, false);
  expect(tell(1, false, 'b')).toMatchObject({ isNews: true, downIn: 1 });
});

it('gives a hint at once, and none for a second after: workers must not drive each other past their back-offs', () => {
  const { tell, now } = states();
  expect(tell(1, false)).toMatchObject({ hint: true });
  now.ms = 999;
  expect(tell(2, false)).toMatchObject({ hint: false });
  expect(tell(2, true)).toMatchObject({ hint: false });
  now.ms = 1000;
  expect(tell(1, true)).toMatchObject({ hint: true });
});

it('forgets what a worker that has ended had found out', () => {
  const { tell, both } = states();
  tell(1, false);
  tell(1, false, 'b');
  tell(2, false, 'b');
  expect(both.forget(1)).toEqual([
    { listener: 'edge', pool: 'pool', backend: 'a', aspect: 'link', up: true, error: undefined },
  ]);
  expect(both.forget(1)).toEqual([]);
  expect(tell(2, true, 'b')).toMatchObject({ isNews: true, downIn: 0 });
});

it('keeps what checks find apart from what links find, and hints at links only', () => {
  const states = new BackendStates(() => 0);
  const news = { listener: undefined, pool: 'pool', backend: 'a', up: false, error: 'no answer' };
  expect(states.tell(1, { ...news, aspect: 'checks' })).toEqual({ isNews: true, downIn: 1, hint: false });
  expect(states.tell(2, { ...news, aspect: 'checks' })).toEqual({ isNews: false, downIn: 2, hint: false });
  expect(states.tell(2, { ...news, aspect: 'link' })).toEqual({ isNews: true, downIn: 1, hint: true });
});
