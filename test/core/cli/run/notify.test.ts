import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Notifier } from '../../../../core/cli/run/notify.ts';
import { describeWith, temporaryFolder } from '../../../support/peers.ts';
import { freePort } from '../../../support/programs.ts';
import { configOf, openBackend, PointsmanProcess } from '../process.ts';

/** A notifier that says things here. */
function notifier(env: NodeJS.ProcessEnv) {
  const said: string[] = [];
  const logged: object[] = [];
  const timers: { milliseconds: number; callback: () => void }[] = [];
  const fail = { next: false };
  const quiet = () => {};
  const systemd = new Notifier({
    env,
    clock: {
      after(milliseconds, callback) {
        timers.push({ milliseconds, callback });
        return () => void timers.pop();
      },
    },
    log: { debug: quiet, info: quiet, warn: (fields: object) => void logged.push(fields), error: quiet },
    async say(assignments) {
      if (fail.next) throw new Error('nobody is there');
      said.push(assignments.join(' '));
    },
  });
  return { systemd, said, logged, timers, fail };
}

describe('systemd', () => {
  const env = { NOTIFY_SOCKET: '/run/systemd/notify' };

  it('is told of the start, of reloads and of the stop, in this order', async () => {
    const { systemd, said, timers } = notifier(env);
    systemd.ready('balancing');
    systemd.reloading();
    systemd.ready('balancing');
    systemd.stopping();
    await systemd.stop();
    expect(said).toEqual([
      'READY=1 STATUS=balancing',
      expect.stringMatching(/^RELOADING=1 MONOTONIC_USEC=\d+$/),
      'READY=1 STATUS=balancing',
      'STOPPING=1 STATUS=stopping',
    ]);
    expect(timers).toEqual([]);
  });

  it('hears at half of its time that the event loop turns', async () => {
    const { systemd, said, timers } = notifier({ ...env, WATCHDOG_USEC: '10000000', WATCHDOG_PID: `${process.pid}` });
    systemd.ready('balancing');
    for (let each = 0; each < 2; each++) {
      expect(timers).toMatchObject([{ milliseconds: 5000 }]);
      timers.pop()!.callback();
      await vi.waitFor(() => expect(timers).toHaveLength(1));
    }
    await systemd.stop();
    expect(said).toEqual(['READY=1 STATUS=balancing', 'WATCHDOG=1', 'WATCHDOG=1']);
    expect(timers).toEqual([]);
  });

  it.each([
    ['of nothing where it does not listen', {}, []],
    [
      'of no event loop if that is another process to watch',
      { ...env, WATCHDOG_USEC: '1', WATCHDOG_PID: '1' },
      ['READY=1 STATUS=x'],
    ],
  ])('is told %s', async (_what, given, expected) => {
    const { systemd, said, timers } = notifier(given);
    systemd.ready('x');
    await systemd.stop();
    expect([said, timers]).toEqual([expected, []]);
  });

  it('need not be there: that is logged once', async () => {
    const { systemd, logged, fail } = notifier(env);
    fail.next = true;
    systemd.ready('balancing');
    systemd.stopping();
    await systemd.stop();
    expect(logged).toEqual([{ error: 'nobody is there' }]);
  });
});

/** Listens as systemd does, and writes what it is told. (Node.js has no such sockets.) */
const listenerScript = `
  use IO::Socket::UNIX; $| = 1;
  my $socket = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die;
  print "listening\\n";
  while (defined $socket->recv(my $text, 4096)) { $text =~ s/\\n/ /g; print "$text\\n"; }
`;

describeWith('systemd-notify', 'systemd', 'systemd-notify', () => {
  it.each([1, 2])('tells systemd how pointsman is, with workers: %i', { timeout: 60_000 }, async (workers) => {
    const socket = join(temporaryFolder(), 'notify');
    const listener = spawn('perl', ['-e', listenerScript, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void listener.kill());
    const told: string[] = [];
    createInterface(listener.stdout).on('line', (line) => told.push(line.trim()));
    const heard = (text: string) =>
      vi.waitFor(() => expect(told.join('\n')).toContain(text), { timeout: 20_000, interval: 10 });
    await heard('listening');
    const pointsman = new PointsmanProcess({
      config: configOf(`tcp://127.0.0.1:${await freePort()}`, await openBackend('a'), `workers: ${workers}`),
      env: { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '200000' },
    });
    await heard('READY=1 STATUS=balancing');
    await heard('WATCHDOG=1');
    pointsman.child.kill('SIGHUP');
    await heard('RELOADING=1 MONOTONIC_USEC=');
    await pointsman.logged('reloaded');
    expect(await pointsman.stop()).toBe(0);
    await heard('STOPPING=1 STATUS=stopping');
    const states = told.filter((line) => /^(READY|RELOADING|STOPPING)/.test(line)).map((line) => line.split('=')[0]);
    expect(states).toEqual(['READY', 'RELOADING', 'READY', 'STOPPING']);
  });
});
