/** `pointsman run`: balances until it is told to stop, and reloads its config when it is told to. */
import { constants } from 'node:os';
import { Balancer } from '../balancer.ts';
import { loadConfig } from '../config/load.ts';
import { standardInput } from '../config/parse.ts';
import { PointsmanError } from '../errors.ts';
import { Faults } from '../faults.ts';
import { areFilesFew } from '../runtime/files.ts';
import { releaseNewSpace } from '../runtime/new-space.ts';
import { nodeRuntime, vacate } from '../runtime/node.ts';
import { defaultStopSeconds } from '../settings.ts';
import type { Primary } from '../workers/primary.ts';
import { createLog, setLogLevel } from './log.ts';
import { exitCodes, type LogLevel, type Output, wantsColours } from './output.ts';
import { countFindings, textReport } from './report/text.ts';
import { RunControl } from './run/control.ts';
import { Notifier } from './run/notify.ts';
import { Reloader } from './run/reloader.ts';
import { type ErrorSource, surviveUncaught } from './run/survive.ts';
import { FileWatch } from './run/watch.ts';

export interface RunOptions {
  readonly logLevel: LogLevel;
  /** How long answers that are due are waited for when it stops. Undefined: as long as the config says. */
  readonly stopSeconds?: number | undefined;
  /** It also reloads when a file changes that the config is read from. */
  readonly watch?: boolean;
}

type Signal = 'SIGINT' | 'SIGTERM';

/** The part of `process` that hears signals. */
export interface Signals {
  on(signal: Signal | 'SIGHUP', listener: (signal: Signal) => void): unknown;
  off(signal: Signal | 'SIGHUP', listener: (signal: Signal) => void): unknown;
  exit(code: number): void;
}

type Host = Signals & ErrorSource;

export async function run(
  paths: readonly string[],
  options: RunOptions,
  output: Output,
  host: Host = process,
): Promise<number> {
  // Before all else: the first process of a container is not ended by a signal that it does not listen for.
  const stop = listenForStop(host);
  try {
    return await runUntil(stop, paths, options, output, host);
  } finally {
    stop.forget();
  }
}

async function runUntil(
  stop: ReturnType<typeof listenForStop>,
  paths: readonly string[],
  options: RunOptions,
  { stdout, stderr }: Output,
  host: Host,
): Promise<number> {
  if (paths.includes(standardInput)) {
    throw new PointsmanError(
      'POINTSMAN_CONFIG',
      'what runs reads its config again when it is reloaded: give it a file',
    );
  }
  const loaded = await loadConfig(paths, { tests: 'skip' });
  const { settings, findings, origins } = loaded;
  stderr.write(textReport(findings, wantsColours(stderr)));
  if (settings === undefined) {
    stderr.write(`${countFindings(findings)}; nothing was started\n`);
    return exitCodes.findings;
  }

  const faults = new Faults();
  const log = await createLog({ level: options.logLevel, stream: stdout, faults });
  stdout.on?.('error', () => faults.log.writeErrors++);
  const endSurvival = surviveUncaught(host, faults, log);
  const runtime = nodeRuntime();
  const { workers = 1 } = settings;
  let balancer: Balancer | Primary;
  if (workers === 1) balancer = new Balancer(settings, { runtime, log, faults });
  else {
    const [{ Primary }, { fork }] = await Promise.all([import('../workers/primary.ts'), import('../workers/fork.ts')]);
    const { logLevel } = options;
    balancer = new Primary(settings, {
      workers,
      origins,
      logLevel,
      log,
      clock: runtime,
      faults,
      vacate,
      areFilesFew,
      fork,
    });
  }
  const systemd = new Notifier({ clock: runtime, log });
  const reload = async () => {
    systemd.reloading();
    const reasons = await reloader.reload();
    systemd.ready(reasons.length === 0 ? 'balancing' : 'balancing; the last reload was refused');
    return reasons;
  };
  const onHangUp = () => void reload();
  const control = new RunControl({
    running: () => reloader.running,
    balancer,
    logLevel: options.logLevel,
    onLogLevel(level) {
      setLogLevel(log, level);
      if ('setLogLevel' in balancer) balancer.setLogLevel(level);
    },
    stop: () => stop.ask('an observer'),
    reload,
  });
  const running = { ...loaded, settings };
  const watch = options.watch ? new FileWatch(onHangUp) : undefined;
  const onRead = (files: readonly string[]) => watch?.follow(files);
  const reloader = new Reloader({ paths, balancer, clock: runtime, log, control, running, onRead });
  onRead(loaded.files);
  try {
    await reloader.start();
    await balancer.start();
    releaseNewSpace();
    control.phase = 'running';
    host.on('SIGHUP', onHangUp);
    log.info({ listeners: settings.listeners.length, pools: settings.pools.length, workers }, 'started');
    systemd.ready('balancing');
    const failed = 'failed' in balancer ? balancer.failed : stop.asked;
    const signal = await Promise.race([stop.asked, failed]);
    control.phase = 'stopping';
    watch?.stop();
    systemd.stopping();
    const deadlineSeconds = options.stopSeconds ?? reloader.running.settings.stopSeconds ?? defaultStopSeconds;
    log.info({ signal, deadlineSeconds }, 'stopping');
    await balancer.stop({ deadlineSeconds });
    await reloader.stop();
    await systemd.stop();
  } catch (error) {
    if (!(error instanceof PointsmanError)) throw error;
    stderr.write(`${error.message}\n`);
    return exitCodes.couldNotRun;
  } finally {
    watch?.stop();
    endSurvival();
    host.off('SIGHUP', onHangUp);
  }
  for (const [listener, stats] of Object.entries(balancer.stats().listeners)) log.info({ listener, stats }, 'stopped');
  return exitCodes.clean;
}

/** npm and npx pass on a Ctrl-C that the terminal has sent already: what comes so soon after the first signal is the same one. */
const echoMs = 500;

/** The first SIGINT or SIGTERM asks to stop; one more exits at once. */
export function listenForStop(
  signals: Signals,
  now: () => number = () => performance.now(),
): { readonly asked: Promise<string>; ask(who: string): void; forget(): void } {
  let ask: (who: string) => void = () => {};
  let askedAt: number | undefined;
  const asked = new Promise<string>((resolve) => {
    ask = resolve;
  });
  const hear = (signal: Signal) => {
    if (askedAt === undefined) {
      askedAt = now();
      ask(signal);
    } else if (now() - askedAt >= echoMs) {
      signals.exit(128 + constants.signals[signal]);
    }
  };
  signals.on('SIGINT', hear);
  signals.on('SIGTERM', hear);
  return {
    asked,
    ask: (who) => ask(who),
    forget() {
      signals.off('SIGINT', hear);
      signals.off('SIGTERM', hear);
    },
  };
}
