/** The files for systemd, containers and Kubernetes among the examples: what they name is there; and pointsman as process 1. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { createProgram } from '../core/cli/program.ts';
import { loadConfig } from '../core/config/load.ts';
import { operations } from '../plugins/observers/admin/operations.ts';
import { askAt, configOf, openBackend, PointsmanProcess } from './core/cli/process.ts';
import { describeWith, temporaryFolder } from './support/peers.ts';
import { freePort } from './support/programs.ts';

const folder = 'test/examples/deploy';
const read = (name: string) => readFileSync(join(folder, name), 'utf8');
const { commands } = createProgram({ stdout: process.stdout, stderr: process.stderr }, () => {});

/** That `pointsman` understands these arguments. */
function checkArguments([verb, ...rest]: readonly string[]): void {
  const options = commands.find((command) => command.name() === verb)?.options.map(({ long }) => long);
  expect(options, verb).toBeDefined();
  for (const option of rest.filter((each) => each.startsWith('--'))) expect(options).toContain(option);
}

/** The path of a probe is one that anybody may ask for. */
function checkProbe(path: string): void {
  const open = Object.values(operations).filter((operation) => 'isOpen' in operation && operation.isOpen);
  expect(open.map((operation) => operation.path)).toContain(path);
}

async function settingsOf(file: string) {
  const env = { POINTSMAN_KEY: 'k'.repeat(32), POINTSMAN_TOKEN: 't'.repeat(32) };
  const { settings, findings } = await loadConfig([file], { env });
  expect(findings).toEqual([]);
  return settings!;
}

describe('the manifests for Kubernetes', () => {
  // biome-ignore lint/suspicious/noExplicitAny: of many shapes
  const objects: any[] = parseAllDocuments(read('kubernetes.yaml')).map((document) =>
    document.toJS({ mapAsMap: false }),
  );
  const of = (kind: string) => objects.find((object) => object.kind === kind);
  const pod = of('Deployment').spec.template.spec;
  const [container] = pod.containers;

  it('carry a config that is in order, and give its listeners ports and time to stop', async () => {
    const file = join(temporaryFolder(), 'config.yaml');
    writeFileSync(file, of('ConfigMap').data['config.yaml']);
    const settings = await settingsOf(file);
    const ports = new Map(
      container.ports.map((port: { name: string; containerPort: number }) => [port.name, port.containerPort]),
    );
    expect(settings.listeners.map(({ name, listen }) => [name, listen.port])).toEqual([['edge', ports.get('edge')]]);
    for (const { plugin, options } of settings.observers!) {
      expect((options as { listen: string }).listen).toBe(`tcp://0.0.0.0:${ports.get(plugin.name)}`);
    }
    const stopSeconds = container.lifecycle.preStop.sleep.seconds + settings.stopSeconds!;
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(stopSeconds);
    for (const { targetPort } of of('Service').spec.ports) expect(ports.has(targetPort)).toBe(true);
  });

  it('name what is there', () => {
    checkArguments(container.args);
    for (const { httpGet } of [container.readinessProbe, container.livenessProbe]) {
      checkProbe(httpGet.path);
      expect(httpGet.port).toBe('admin');
    }
    const [mount] = container.volumeMounts;
    const volume = pod.volumes.find(({ name }: { name: string }) => name === mount.name);
    expect(volume.configMap.name).toBe(of('ConfigMap').metadata.name);
    expect(container.args.at(-1)).toBe(`${mount.mountPath}/config.yaml`);
    const { labels } = of('Deployment').spec.template.metadata;
    for (const selector of [
      of('Deployment').spec.selector.matchLabels,
      of('PodDisruptionBudget').spec.selector.matchLabels,
      of('Service').spec.selector,
    ]) {
      expect(labels).toMatchObject(selector);
    }
  });

  it('let it be nobody, and write nothing', () => {
    expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(container.securityContext).toEqual({
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
    });
  });
});

describe('the Dockerfile', () => {
  const text = read('Dockerfile').replace(/\\\n/g, ' ');
  const instructions = text.split('\n').flatMap((line) => {
    const [, name, rest] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    return name === undefined ? [] : [{ name, rest: rest! }];
  });
  const last = (name: string) => instructions.findLast((instruction) => instruction.name === name)!.rest;

  it('has nothing but what Docker knows, in its order', () => {
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#') && !/^\s/.test(line));
    expect(instructions).toHaveLength(lines.length);
    const known = ['FROM', 'WORKDIR', 'RUN', 'COPY', 'USER', 'STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'];
    expect(instructions.filter(({ name }) => !known.includes(name))).toEqual([]);
    expect(instructions[0]!.name).toBe('FROM');
  });

  it('runs, as nobody and without a shell, what the package has', () => {
    expect(last('USER')).toBe('nonroot');
    expect(last('FROM')).toContain('distroless');
    const [node, main] = JSON.parse(last('ENTRYPOINT')) as [string, string];
    const { bin } = JSON.parse(readFileSync('package.json', 'utf8')) as { bin: { pointsman: string } };
    expect(main).toBe(`/app/node_modules/pointsman/${bin.pointsman}`);
    checkArguments(JSON.parse(last('CMD')) as string[]);
    const [, check] = /CMD (\[.*\])$/.exec(last('HEALTHCHECK'))!;
    const [program, , script] = JSON.parse(check!) as [string, string, string];
    expect(program).toBe(node);
    checkProbe(new URL(/'(http[^']+)'/.exec(script)![1]!).pathname);
  });
});

describeWith('systemd-analyze', 'systemd', 'the units for systemd', () => {
  it('are in order', () => {
    const target = temporaryFolder();
    const units = ['pointsman.service', 'pointsman.socket'].map((name) => {
      copyFileSync(join(folder, name), join(target, name));
      return join(target, name);
    });
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([0, '']);
  });

  it('go with the config beside them', async () => {
    const { listeners, stopSeconds } = await settingsOf(join(folder, 'config.yaml'));
    const value = (unit: string, name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(read(unit))?.[1];
    expect(listeners.map(({ listen }) => listen.fd)).toEqual([value('pointsman.socket', 'FileDescriptorName')]);
    expect(Number(value('pointsman.service', 'TimeoutStopSec'))).toBeGreaterThan(stopSeconds!);
    for (const [, call] of read('pointsman.service').matchAll(/^Exec.* pointsman (.+)$/gm))
      checkArguments(call!.split(' '));
  });
});

/** Whether processes can be given numbers of their own here. */
function canUnshare(): boolean {
  try {
    execFileSync('unshare', ['--pid', '--fork', '--mount-proc', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

describeWith('unshare', 'util-linux', 'pointsman as process 1', () => {
  const allowed = canUnshare();
  if (!allowed) console.warn('skipped: pointsman as process 1: unshare is not allowed here');
  if (!allowed && process.env.POINTSMAN_REQUIRE_PEERS === '1') throw new Error('unshare is not allowed here');
  it.skipIf(!allowed).each([
    [1, 'SIGTERM'],
    [1, 'SIGINT'],
    [2, 'SIGTERM'],
  ] as const)('stops as it is told, with workers: %i, by %s', { timeout: 60_000 }, async (workers, signal) => {
    const [port, backend] = [await freePort(), await openBackend('a')];
    const pointsman = new PointsmanProcess({
      config: configOf(`tcp://127.0.0.1:${port}`, backend, `workers: ${workers}`),
      wrapper: ['unshare', '--pid', '--fork', '--mount-proc'],
    });
    await pointsman.logged('started');
    expect(await askAt(port)).toBe('a');
    /** What the first process of the new numbers is, and its children, by the numbers that they have here. */
    const childrenOf = (pid: number) =>
      readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
    const [first] = childrenOf(pointsman.child.pid!) as [number];
    expect(readFileSync(`/proc/${first}/status`, 'utf8')).toMatch(/^NSpid:\s+\d+\s+1$/m);
    if (workers > 1) {
      // One that dies is replaced, and leaves nothing behind.
      const [worker] = childrenOf(first) as [number];
      process.kill(worker, 'SIGKILL');
      await vi.waitFor(
        () => {
          expect(pointsman.log.filter(({ msg }) => msg === 'worker started')).toHaveLength(workers + 1);
          const states = childrenOf(first).map(
            (pid) => /^State:\s+(\w)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1],
          );
          expect(states).toHaveLength(workers);
          expect(states).not.toContain('Z');
        },
        { timeout: 20_000, interval: 50 },
      );
    }
    process.kill(first, signal);
    expect(await pointsman.exited).toBe(0);
    expect(await pointsman.logged('stopping')).toMatchObject({ signal });
  });
});
