/** The primary with workers that are played, on a virtual clock. */
import { describe, expect, it } from 'vitest';
import { Accounting } from '../../../core/accounting.ts';
import type { Logger } from '../../../core/plugin.ts';
import { VirtualRuntime } from '../../../core/runtime/virtual.ts';
import { type FromWorker, type ToWorker, unpackSettings } from '../../../core/workers/messages.ts';
import { Primary, type WorkerEvents, type WorkerProcess } from '../../../core/workers/primary.ts';
import { lines, turns } from '../../support/lines.ts';
import { backendAt, edgeAddress, settingsWith } from '../../support/settings.ts';
import { direction, statsOf } from '../../support/stats.ts';

const settings = settingsWith({ pool: { backends: [backendAt('a', 1)] } });

class PlayedWorker implements WorkerProcess {
  readonly pid: number;
  readonly heard: ToWorker[] = [];
  killed = false;
  /** False: what is sent to it does not leave. */
  reads = true;
  readonly waiting: (() => void)[] = [];
  readonly #events: WorkerEvents;

  constructor(pid: number, events: WorkerEvents) {
    this.pid = pid;
    this.#events = events;
  }

  send(message: ToWorker, then = () => {}): void {
    this.heard.push(message);
    if (this.reads) then();
    else this.waiting.push(then);
  }

  kill(): void {
    this.killed = true;
    this.#events.onExit('SIGKILL');
  }

  say(message: FromWorker): void {
    this.#events.onMessage(message);
  }

  /** Goes as far as listening. */
  start(): void {
    this.say({ type: 'ready' });
    this.say({ type: 'started' });
  }

  exit(reason = 'exit code 1'): void {
    this.#events.onExit(reason);
  }

  get assignment() {
    const first = this.heard[0];
    if (first?.type !== 'start') throw new Error('it has no assignment');
    return first.assignment;
  }
}

function play(workers = 2) {
  const clock = new VirtualRuntime();
  const forked: PlayedWorker[] = [];
  const logged: object[] = [];
  const keep = (level: string) => (fields: object, text?: string) => void logged.push({ level, ...fields, text });
  const log: Logger & { child(): Logger } = {
    debug() {},
    info: keep('info'),
    warn: keep('warn'),
    error: keep('error'),
    child: () => log,
  };
  const vacated: unknown[] = [];
  const files = { areFew: false };
  const primary = new Primary(settings, {
    workers,
    origins: [{ specifier: './acme.ts', configFile: 'edge.yaml' }],
    logLevel: 'info',
    log,
    clock,
    async vacate(address) {
      vacated.push(address);
    },
    areFilesFew: () => files.areFew,
    fork(events) {
      const worker = new PlayedWorker(forked.length + 1, events);
      forked.push(worker);
      return worker;
    },
  });
  return { primary, clock, forked, logged, vacated, files };
}

async function playStarted(workers = 2) {
  const played = play(workers);
  const started = played.primary.start();
  await Promise.resolve(); // the addresses are vacated
  for (const worker of played.forked) worker.start();
  await started;
  played.logged.length = 0;
  return played;
}

/** One of the two workers has died, and `late` is about to take its place. */
async function playReplacing() {
  const played = await playStarted();
  played.forked[1]!.exit();
  played.clock.advance(10_000);
  const late = played.forked[2]!;
  late.say({ type: 'ready' });
  return { ...played, late };
}

const received = (count: number) =>
  statsOf({
    fromClients: direction({ received: count, forwarded: count }),
    routes: { ...new Accounting(0).routes, strategy: count },
  });

const receivedBy = (primary: Primary) => primary.stats().listeners.edge?.fromClients.received;

describe('start', () => {
  it('gives all workers the same config and secret, and each an instance of its own', async () => {
    const { forked, vacated } = await playStarted();
    const [one, other] = forked.map(({ assignment }) => assignment);
    expect(vacated).toEqual([edgeAddress]);
    expect([one!.worker, other!.worker]).toEqual([1, 2]);
    expect(one!.identity.processSecret).toEqual(other!.identity.processSecret);
    expect(one!.identity.processSecret).toHaveLength(32);
    expect(one!.identity.instance).not.toEqual(other!.identity.instance);
    expect(one!.origins).toEqual([{ specifier: './acme.ts', configFile: 'edge.yaml' }]);
    // No code goes to another process, and what goes makes up the settings again.
    expect(structuredClone(one!.settings)).toEqual(one!.settings);
    expect(unpackSettings(one!.settings, [lines, turns] as never)).toEqual(settings);
    expect(() => unpackSettings(one!.settings, [lines] as never)).toThrow('the plugin "turns" is not there any more');
  });

  it('fails as the first worker does that cannot start, and leaves none', async () => {
    const { primary, forked } = play();
    const started = primary.start();
    await Promise.resolve();
    forked[0]!.start();
    forked[1]!.say({ type: 'ready' });
    forked[1]!.say({ type: 'failed', code: 'POINTSMAN_LISTEN', message: 'listener edge cannot listen' });
    await expect(started).rejects.toMatchObject({ code: 'POINTSMAN_LISTEN', message: 'listener edge cannot listen' });
    expect(forked.map(({ killed }) => killed)).toEqual([true, true]);
    expect(forked).toHaveLength(2);
  });

  it('fails if a worker ends before it has started', async () => {
    const { primary, forked } = play();
    const started = primary.start();
    await Promise.resolve();
    forked[1]!.exit('SIGSEGV');
    await expect(started).rejects.toMatchObject({
      code: 'POINTSMAN_WORKER',
      message: 'worker 2 ended before it had started: SIGSEGV',
    });
    expect(forked).toHaveLength(2);
  });
});

describe('what a worker hands over', () => {
  const instanceOf = (worker: PlayedWorker) => worker.assignment.identity.instance.toString('hex');

  it('reaches the worker that has the client', async () => {
    const { forked } = await playStarted();
    const [one, other] = forked;
    const instances = [instanceOf(one!), instanceOf(other!)];
    expect(other!.heard.at(-1)).toEqual({ type: 'siblings', instances });
    const handover = { to: { instance: instances[1]!, slot: 7, generation: 1 }, messages: [Buffer.from('hello')] };
    one!.say({ type: 'handover', handover });
    expect(other!.heard.at(-1)).toEqual({ type: 'handover', handover });
  });

  it('waits in bounded memory for a worker that does not keep up, and says once that messages are lost', async () => {
    const { forked, logged } = await playStarted();
    const [one, other] = forked;
    other!.reads = false;
    const to = { instance: instanceOf(other!), slot: 7, generation: 1 };
    const messages = [Buffer.alloc(1_048_576)];
    const handed = () => other!.heard.filter(({ type }) => type === 'handover').length;
    for (let i = 0; i < 100; i++) one!.say({ type: 'handover', handover: { to, messages } });
    expect(handed()).toBe(16);
    const loss = { level: 'error', worker: 2, text: expect.stringContaining('are lost') };
    expect(logged).toEqual([loss]);
    for (const leave of other!.waiting.splice(0)) leave();
    for (let i = 0; i < 16; i++) one!.say({ type: 'handover', handover: { to, messages } });
    expect(handed()).toBe(32);
    expect(logged).toEqual([loss]);
    one!.say({ type: 'handover', handover: { to, messages } });
    expect(logged).toEqual([loss, loss]);
  });

  it('comes back as gone if that worker has ended, or does not have the client', async () => {
    const { forked } = await playStarted();
    const [one, other] = forked;
    const place = { instance: instanceOf(other!), slot: 7, generation: 1 };
    other!.say({ type: 'gone', place });
    expect(one!.heard.at(-1)).toEqual({ type: 'gone', place });
    other!.exit();
    expect(one!.heard.at(-1)).toEqual({ type: 'siblings', instances: [instanceOf(one!)] });
    one!.say({ type: 'handover', handover: { to: place, messages: [] } });
    expect(one!.heard.at(-1)).toEqual({ type: 'gone', place });
  });
});

describe('a worker that ends', () => {
  it('is replaced under its number, with the same secret and another instance', async () => {
    const { forked, clock, logged, primary } = await playStarted();
    clock.advance(60_000);
    forked[1]!.exit('SIGKILL');
    expect(logged).toMatchObject([{ level: 'error', worker: 2, error: 'SIGKILL', ended: 1 }]);
    expect(forked).toHaveLength(2);
    clock.advance(200);
    expect(forked).toHaveLength(3);
    forked[2]!.start();
    const [, before, after] = forked.map(({ assignment }) => assignment);
    expect(after!.worker).toBe(2);
    expect(after!.identity.processSecret).toEqual(before!.identity.processSecret);
    expect(after!.identity.instance).not.toEqual(before!.identity.instance);
    expect(primary.ended).toBe(1);
  });

  it('is replaced later and later if it has not run for long, and promptly again if it has', async () => {
    const { forked, clock, logged } = await playStarted();
    const waits: number[] = [];
    const end = () => {
      logged.length = 0;
      forked.at(-1)!.exit();
      const { waitMs } = logged.at(-1) as { waitMs: number };
      waits.push(waitMs);
      clock.advance(waitMs);
      forked.at(-1)!.start();
    };
    for (let i = 0; i < 8; i++) end();
    const longest = [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000];
    for (const [i, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(longest[i]! / 2);
      expect(wait).toBeLessThanOrEqual(longest[i]!);
    }
    clock.advance(10_000);
    end();
    expect(waits.at(-1)).toBeLessThanOrEqual(200);
  });

  it('leaves what it had counted', async () => {
    const { primary, forked, clock } = await playStarted();
    forked[0]!.say({ type: 'stats', stats: received(5), final: false });
    forked[1]!.say({ type: 'stats', stats: received(7), final: false });
    expect(receivedBy(primary)).toBe(12);
    forked[1]!.exit('SIGKILL');
    expect(receivedBy(primary)).toBe(12);
    clock.advance(200);
    forked[2]!.start();
    forked[2]!.say({ type: 'stats', stats: received(1), final: false });
    expect(receivedBy(primary)).toBe(13);
  });

  it('is tried again for ever while others work', async () => {
    const { primary, forked, clock } = await playStarted();
    let failed: Error | undefined;
    primary.failed.catch((error: Error) => {
      failed = error;
    });
    for (let i = 0; i < 20; i++) {
      forked.at(-1)!.exit();
      clock.advance(10_000);
    }
    await Promise.resolve();
    expect(failed).toBeUndefined();
    expect(forked).toHaveLength(22);
  });

  it('is given up when none is left and new ones do not start', async () => {
    const { primary, forked, clock } = await playStarted(1);
    forked[0]!.exit('SIGKILL');
    for (let i = 1; i <= 5; i++) {
      clock.advance(10_000);
      expect(forked).toHaveLength(i + 1);
      forked[i]!.say({ type: 'ready' });
      forked[i]!.say({ type: 'failed', code: 'POINTSMAN_PLUGIN', message: '[acme] onStart: boom' });
      forked[i]!.exit();
    }
    await expect(primary.failed).rejects.toMatchObject({
      code: 'POINTSMAN_WORKER',
      message: 'no worker is left, and 5 in a row ended before they had started; the last: [acme] onStart: boom',
    });
    clock.advance(60_000);
    expect(forked).toHaveLength(6);
  });
});

describe('stop', () => {
  it('lets all workers stop, and has the sums of their last reports', async () => {
    const { primary, forked, clock } = await playStarted();
    let isStopped = false;
    const stopped = primary.stop({ deadlineSeconds: 3 }).then(() => {
      isStopped = true;
    });
    for (const [i, worker] of forked.entries()) {
      expect(worker.heard.at(-1)).toEqual({ type: 'stop', deadlineSeconds: 3 });
      await Promise.resolve();
      expect(isStopped).toBe(false);
      worker.say({ type: 'stats', stats: received(10 + i), final: true });
      worker.exit('exit code 0');
    }
    await stopped;
    expect(receivedBy(primary)).toBe(21);
    expect(clock.timers).toBe(0);
    expect(primary.ended).toBe(0);
  });

  it('kills what does not stop in time, and what has not started', async () => {
    const { primary, forked, clock } = await playStarted();
    forked[1]!.exit();
    clock.advance(200);
    const stopped = primary.stop({ deadlineSeconds: 3 });
    expect(forked.map(({ killed }) => killed)).toEqual([false, false, true]);
    clock.advance(7999);
    expect(forked[0]!.killed).toBe(false);
    clock.advance(1);
    expect(forked[0]!.killed).toBe(true);
    await stopped;
    expect(forked).toHaveLength(3);
  });

  it('replaces nobody any more', async () => {
    const { primary, forked, clock } = await playStarted();
    forked[1]!.exit();
    const stopped = primary.stop({ deadlineSeconds: 3 });
    forked[0]!.exit('SIGSEGV');
    await stopped;
    clock.advance(60_000);
    expect(forked).toHaveLength(2);
    expect(clock.timers).toBe(0);
  });
});

describe('a reload', () => {
  const tls = { verify: true, certificateExpiresAtMs: 7000 };
  const next = settingsWith({ pool: { backends: [backendAt('a', 1), backendAt('b', 2)], tls } });
  const origins = [{ specifier: './new.ts', configFile: 'edge.yaml' }];
  const refusal = { type: 'reloaded', fault: { code: 'POINTSMAN_LISTEN', message: 'no such port' } } as const;
  const reloaded = { type: 'reloaded', fault: undefined } as const;
  const told = (worker: PlayedWorker) => worker.heard.filter(({ type }) => type === 'reload').length;
  const backendsOf = (primary: Primary) => primary.backends().map(({ name }) => name);
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it('goes to one worker first, and to the others when that one has it', async () => {
    const { primary, forked } = await playStarted(3);
    const done = primary.reload(next, origins);
    await turn();
    expect(forked.map(told)).toEqual([1, 0, 0]);
    forked[0]!.say(reloaded);
    await turn();
    expect(forked.map(told)).toEqual([1, 1, 1]);
    forked[2]!.say(reloaded);
    forked[1]!.say(reloaded);
    await done;
    expect(backendsOf(primary)).toEqual(['a', 'b']);
    expect(primary.certificates()).toEqual([{ pool: 'pool', expiresAtMs: 7000 }]);
    expect(primary.stats().reloads).toMatchObject({ succeeded: 1, failed: 0 });
  });

  it('that the first one refuses is none: the others hear nothing of it, and all is as it was', async () => {
    const { primary, forked } = await playStarted();
    const done = primary.reload(next, origins);
    await turn();
    forked[0]!.say(refusal);
    await expect(done).rejects.toMatchObject({ code: 'POINTSMAN_LISTEN', message: 'no such port' });
    expect(forked.map(told)).toEqual([1, 0]);
    expect(forked.map(({ killed }) => killed)).toEqual([false, false]);
    expect(backendsOf(primary)).toEqual(['a']);
    expect(primary.certificates()).toEqual([]);
    expect(primary.stats().reloads).toMatchObject({ succeeded: 0, failed: 1 });
  });

  it('fails if the first one ends meanwhile, whose successor begins with the old settings', async () => {
    const { primary, forked, clock } = await playStarted();
    const done = primary.reload(next, origins);
    await turn();
    forked[0]!.exit('SIGKILL');
    await expect(done).rejects.toThrow('worker 1 ended: SIGKILL');
    clock.advance(10_000);
    forked[2]!.start();
    expect(unpackSettings(forked[2]!.assignment.settings, [lines, turns] as never)).toEqual(settings);
    expect(told(forked[1]!) + told(forked[2]!)).toBe(0);
  });

  it('fails where no worker runs', async () => {
    const { primary, forked } = await playStarted(1);
    forked[0]!.exit();
    await expect(primary.reload(next, origins)).rejects.toThrow('no worker has started');
  });

  it.each(['refuses it', 'ends meanwhile', 'does not answer'])(
    'has a later worker that %s replaced by one that begins with it',
    async (how) => {
      const { primary, forked, clock, logged } = await playStarted();
      const done = primary.reload(next, origins);
      await turn();
      forked[0]!.say(reloaded);
      await turn();
      if (how === 'refuses it') forked[1]!.say(refusal);
      else if (how === 'ends meanwhile') forked[1]!.exit('SIGSEGV');
      else clock.advance(60_000);
      await done;
      await turn();
      if (how !== 'ends meanwhile') expect(forked[1]!.killed).toBe(true);
      expect(logged).toContainEqual(
        expect.objectContaining({ worker: 2, text: 'worker cannot reload: it is replaced' }),
      );
      clock.advance(10_000);
      expect(forked).toHaveLength(3);
      forked[2]!.start();
      expect(unpackSettings(forked[2]!.assignment.settings, [lines, turns] as never)).toEqual(next);
      expect(forked[2]!.assignment.origins).toEqual(origins);
      expect([told(forked[2]!), forked[0]!.killed]).toEqual([0, false]);
      expect(primary.stats().reloads).toMatchObject({ succeeded: 1, failed: 0 });
    },
  );

  it('fails if the first one does not answer, which is ended', async () => {
    const { primary, forked, clock } = await playStarted();
    const done = primary.reload(next, origins);
    await turn();
    clock.advance(60_000);
    await expect(done).rejects.toThrow('worker 1 has not answered within 60 s');
    expect(forked.slice(0, 2).map(({ killed }) => killed)).toEqual([true, false]);
    expect(backendsOf(primary)).toEqual(['a']);
  });

  it('reaches a worker that starts while the first one is at it, and one that starts when it is done', async () => {
    const { primary, forked, clock } = await playStarted(3);
    for (const worker of [forked[1]!, forked[2]!]) worker.exit();
    clock.advance(10_000);
    const [early, late] = [forked[3]!, forked[4]!];
    early.say({ type: 'ready' });
    late.say({ type: 'ready' });
    const done = primary.reload(next, origins);
    await turn();
    early.say({ type: 'started' });
    forked[0]!.say(reloaded);
    await turn();
    expect([told(early), told(late)]).toEqual([1, 0]);
    early.say(reloaded);
    await done;
    late.say({ type: 'started' });
    await turn();
    expect(told(late)).toBe(1);
    late.say(reloaded);
  });

  it('comes before what operators have changed since, for a worker that was starting', async () => {
    const { primary, forked, late } = await playReplacing();
    const done = primary.reload(next, origins);
    await turn();
    forked[0]!.say(reloaded);
    await done;
    const [pool] = next.pools;
    const backend = pool!.backends.at(-1)!.name;
    primary.setBackend(pool!.name, backend, { state: 'drain' });
    late.say({ type: 'started' });
    expect(late.heard.slice(-2)).toEqual([
      expect.objectContaining({ type: 'reload' }),
      { type: 'change', pool: pool!.name, backend, change: { state: 'drain' } },
    ]);
  });

  it('that a worker refuses because it stops does not end it', async () => {
    const { primary, forked } = await playStarted();
    const done = primary.reload(next, origins);
    await turn();
    forked[0]!.say(reloaded);
    await turn();
    const stopped = primary.stop({ deadlineSeconds: 10 });
    forked[1]!.say(refusal);
    await done;
    expect(forked[1]!.killed).toBe(false);
    for (const worker of forked) worker.exit();
    await stopped;
  });

  it('is answered by whoever was asked first, also if the next one comes before that', async () => {
    const { primary, forked, late } = await playReplacing();
    const first = primary.reload(next, origins);
    await turn();
    forked[0]!.say(reloaded);
    await first;
    late.say({ type: 'started' });
    const second = primary.reload(settings, origins);
    await turn();
    forked[0]!.say(reloaded);
    await turn();
    expect(told(late)).toBe(2);
    late.say(reloaded);
    late.say(refusal);
    await second;
    expect(late.killed).toBe(true);
  });
});

describe('news of a backend', () => {
  const news = (up: boolean) =>
    ({
      type: 'news',
      news: { listener: 'edge', pool: 'pool', backend: 'a', aspect: 'link', up, error: up ? undefined : 'refused' },
    }) as const;

  it('is logged once, and given to the other workers as a hint', async () => {
    const { forked, logged } = await playStarted(3);
    forked[1]!.say(news(false));
    forked[0]!.say(news(false));
    expect(logged).toEqual([
      { level: 'warn', backend: 'a', error: 'refused', workersDown: 1, workers: 3, text: 'backend is down' },
    ]);
    const hints = forked.map(({ heard }) => heard.filter(({ type }) => type === 'look').length);
    expect(hints).toEqual([1, 0, 1]);
    logged.length = 0;
    forked[0]!.say(news(true));
    forked[1]!.say(news(true));
    expect(logged).toEqual([{ level: 'info', backend: 'a', workersDown: 0, workers: 3, text: 'backend is up' }]);
  });

  it('that has moved since is news again', async () => {
    const { primary, forked, logged } = await playStarted(1);
    forked[0]!.say(news(false));
    const done = primary.reload(settingsWith({ pool: { backends: [backendAt('a', 9)] } }), []);
    await new Promise((resolve) => setImmediate(resolve));
    forked[0]!.say({ type: 'reloaded' });
    await done;
    logged.length = 0;
    forked[0]!.say(news(false));
    expect(logged).toMatchObject([{ text: 'backend is down', workersDown: 1 }]);
  });

  it('of a worker that has ended does not stand', async () => {
    const { forked, logged } = await playStarted();
    forked[0]!.say(news(false));
    logged.length = 0;
    forked[0]!.exit();
    expect(logged).toMatchObject([{ text: 'backend is up' }, { worker: 1 }]);
  });
});

describe('what workers are asked', () => {
  const connectionOf = (worker: PlayedWorker, slot: number) => {
    const id = `${worker.assignment.identity.instance.toString('hex', 0, 4)}-${slot}-1`;
    return { id, listener: 'edge', address: '', port: 0, openSeconds: 0, idleSeconds: 0, messages: 0, bytes: 0 };
  };
  const asked = (worker: PlayedWorker) => worker.heard.findLast((message) => message.type === 'ask')!;
  const answer = (worker: PlayedWorker, answer: unknown) =>
    worker.say({ type: 'answer', id: (asked(worker) as { id: number }).id, answer: answer as boolean });

  it('lists the connections of one after the other', async () => {
    const { primary, forked } = await playStarted();
    const [one, other] = forked as [PlayedWorker, PlayedWorker];
    const first = primary.connections({ limit: 2 });
    answer(one, { connections: [connectionOf(one, 0)] });
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked(other)).toMatchObject({ connections: { limit: 1 } });
    answer(other, { connections: [connectionOf(other, 0)], next: '1' });
    expect(await first).toMatchObject({ connections: [{ id: connectionOf(one, 0).id }, {}], next: '2.1' });
    const second = primary.connections({ limit: 2, from: '2.1' });
    expect(asked(other)).toMatchObject({ connections: { limit: 2, from: '1' } });
    answer(other, { connections: [] });
    expect(await second).toEqual({ connections: [] });
  });

  it('closes a connection where it is, and waits for no worker for ever', async () => {
    const { primary, forked, clock } = await playStarted();
    const other = forked[1]!;
    const closed = primary.closeConnection(connectionOf(other, 3).id);
    expect(asked(other)).toMatchObject({ close: connectionOf(other, 3).id });
    answer(other, true);
    expect(await closed).toBe(true);
    expect(await primary.closeConnection('00000000-1-1')).toBe(false);
    const stuck = primary.closeConnection(connectionOf(other, 4).id);
    clock.advance(5000);
    expect(await stuck).toBe(false);
  });

  it('and told: the level of the log, also those that come later', async () => {
    const { primary, forked, clock } = await playStarted();
    primary.setLogLevel('debug');
    expect(forked.map(({ heard }) => heard.at(-1))).toEqual(Array(2).fill({ type: 'log-level', level: 'debug' }));
    forked[0]!.exit();
    clock.advance(200);
    forked[2]!.say({ type: 'ready' });
    expect(forked[2]!.assignment.logLevel).toBe('debug');
  });

  it('knows the backends as they have been changed', async () => {
    const { primary } = await playStarted();
    primary.setBackend('pool', 'a', { weight: 3 });
    primary.setBackend('pool', 'a', { state: 'drain' });
    expect(primary.backends()).toEqual([
      {
        pool: 'pool',
        name: 'a',
        address: 'tcp://192.0.2.1:1',
        number: undefined,
        priority: 0,
        weight: 3,
        state: 'drain',
      },
    ]);
  });
});

it('says when hardly any file can be opened, and when they can again, once each', async () => {
  const { primary, clock, logged, files, forked } = await playStarted();
  clock.advance(5000);
  expect(logged).toEqual([]);
  files.areFew = true;
  clock.advance(5000);
  const text = 'hardly any file can be opened any more: connections that no worker takes are closed';
  expect(logged).toEqual([{ level: 'error', text }]);
  files.areFew = false;
  clock.advance(5000);
  expect(logged.slice(1)).toEqual([{ level: 'info', text: 'files can be opened again' }]);

  const stopped = primary.stop({ deadlineSeconds: 1 });
  for (const worker of forked) worker.exit();
  await stopped;
  expect(clock.timers).toBe(0);
});
