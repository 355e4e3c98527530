import { once } from 'node:events';
import { linkSync, readFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { type PluginDefinition, refusal } from 'pointsman';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parse } from 'yaml';
import metrics from '../../../plugins/observers/metrics/index.ts';
import { guest } from '../../support/lines.ts';
import { temporaryFolder } from '../../support/peers.ts';
import { observed } from './observed.ts';

/** A balancer of lines that is measured, and what `GET /metrics` says of it. */
async function measured(options: object = {}, visitor?: PluginDefinition) {
  const path = join(temporaryFolder(), 'metrics.sock');
  const { rig, observers } = await observed(
    metrics as PluginDefinition,
    { listen: `unix:${path}`, ...options },
    visitor,
  );
  onTestFinished(() => observers.stop());
  const ask = (accept = '', method = 'GET', url = '/metrics') =>
    new Promise<{ status: number; type: string; text: string }>((resolve, reject) => {
      const request = http.request({ socketPath: path, path: url, method, headers: { accept } }, (response) => {
        let text = '';
        response.on('data', (bytes) => {
          text += bytes;
        });
        response.on('end', () => {
          resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', text });
        });
      });
      request.on('error', reject).end();
    });
  return { rig, ask };
}

describe('GET /metrics', () => {
  it('tells what was counted, so that the accounting identity can be checked', async () => {
    const { rig, ask } = await measured();
    const alice = rig.client();
    alice.send('one\ntwo\n?\nbye\n');
    const { text, type, status } = await ask();
    expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    for (const line of [
      'pointsman_messages_received_total{listener="edge",from="client"} 4',
      'pointsman_messages_forwarded_total{listener="edge",from="client"} 2',
      'pointsman_messages_refused_total{listener="edge",from="client",reason="question",ordinary="false"} 1',
      'pointsman_messages_discarded_total{listener="edge",from="client",reason="bye",ordinary="true"} 1',
      'pointsman_messages_held{listener="edge",from="client"} 0',
      'pointsman_routes_total{listener="edge",reason="strategy"} 2',
      'pointsman_connections{listener="edge"} 1',
      'pointsman_exchanges{listener="edge"} 2',
      'pointsman_messages_received_total{listener="edge",from="replay"} 0',
      'pointsman_reloads_total{outcome="succeeded"} 0',
      'pointsman_backend_in_flight{listener="edge",backend="a"} 2',
      'pointsman_backend_state{listener="edge",backend="b",state="drain"} 1',
      'pointsman_log_write_errors_total{log="process"} 0',
      'pointsman_log_lines_dropped_total{log="process"} 0',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
  });

  it('tells how long answers take, how many bytes came, and how long hooks take', async () => {
    const { rig, ask } = await measured({ hookSample: 1 });
    const alice = rig.client();
    alice.send('one\n');
    rig.advance(30);
    rig.backend('a').link.send('#1 done\n');
    rig.advance(1000);
    const { text } = await ask();
    for (const line of [
      'pointsman_response_seconds_bucket{listener="edge",backend="a",le="0.025"} 0',
      'pointsman_response_seconds_bucket{listener="edge",backend="a",le="0.05"} 1',
      'pointsman_response_seconds_count{listener="edge",backend="a"} 1',
      'pointsman_message_bytes_total{listener="edge",from="client"} 4',
      'pointsman_message_bytes_total{listener="edge",from="backend"} 8',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).toMatch(/pointsman_hook_calls_total\{hook="frame",plugin="lines"\} [1-9]/);
    expect(text).toMatch(/pointsman_hook_calls_total\{hook="chooseBackend",plugin="turns"\} 1\n/);
  });

  it('tells of each backend what became of messages to it and from it, how its links are, and what failed', async () => {
    const { rig, ask } = await measured();
    const alice = rig.client();
    alice.send('one\n@b two\n@nobody three\n');
    rig.client().send('a\0b\n');
    rig.backend('a').link.send('#1 done\n#1 again\n');
    rig.backend('b').down();
    rig.advance(1000);
    const { text } = await ask();
    for (const line of [
      'pointsman_backend_messages_total{listener="edge",backend="a",from="client",outcome="forwarded"} 1',
      'pointsman_backend_messages_total{listener="edge",backend="a",from="backend",outcome="forwarded"} 1',
      'pointsman_backend_messages_total{listener="edge",backend="a",from="backend",outcome="discarded"} 1',
      'pointsman_backend_messages_total{listener="edge",backend="b",from="client",outcome="forwarded"} 1',
      'pointsman_backend_links{listener="edge",backend="a",state="open"} 1',
      'pointsman_backend_links{listener="edge",backend="b",state="open"} 0',
      'pointsman_backend_links{listener="edge",backend="b",state="closed"} 1',
      'pointsman_backend_connect_failures_total{listener="edge",backend="a"} 0',
      'pointsman_frame_errors_total{listener="edge",from="client"} 1',
      'pointsman_frame_errors_total{listener="edge",from="backend"} 0',
      'pointsman_identifiers_unknown_total{listener="edge"} 1',
    ]) {
      expect(text.split('\n')).toContain(line);
    }
    expect(text).toMatch(/pointsman_backend_connect_failures_total\{listener="edge",backend="b"\} [1-9]/);
  });

  it('tells when certificates expire', async () => {
    const { ask } = await measured();
    const { text } = await ask();
    for (const line of [
      `pointsman_certificate_expiry_timestamp_seconds{listener="edge"} ${Date.UTC(2200, 0, 1) / 1000}`,
      `pointsman_certificate_expiry_timestamp_seconds{pool="pool"} ${Date.UTC(2200, 0, 2) / 1000}`,
    ]) {
      expect(text.split('\n')).toContain(line);
    }
  });

  it('looks once at the counts for all metrics, so that they go together', async () => {
    const { rig, ask } = await measured();
    rig.client().send('one\n');
    let looks = 0;
    const stats = rig.balancer.stats.bind(rig.balancer);
    rig.balancer.stats = () => {
      looks++;
      return stats();
    };
    await ask();
    expect(looks).toBe(1);
  });

  it('listens where a process that was killed has left its socket, and says which address is none', async () => {
    const path = join(temporaryFolder(), 'stale.sock');
    const killed = net.createServer().listen(path);
    await once(killed, 'listening');
    linkSync(path, `${path}.kept`);
    killed.close();
    await once(killed, 'close');
    linkSync(`${path}.kept`, path);
    const { observers } = await observed(metrics as PluginDefinition, { listen: `unix:${path}` });
    await observers.stop();
    await expect(observed(metrics as PluginDefinition, { listen: 'udp://127.0.0.1:1' })).rejects.toThrow(
      '[metrics] observe: listen: "udp://127.0.0.1:1" is no address; write tcp://host:port or unix:/path',
    );
  });

  it('speaks OpenMetrics if asked to, and knows one path and one method', async () => {
    const { ask } = await measured();
    const [open, plain] = await Promise.all([ask('application/openmetrics-text'), ask()]);
    expect(open.type).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(open.text.endsWith('# EOF\n')).toBe(true);
    expect(plain.text).not.toContain('# EOF');
    expect((await ask('', 'GET', '/')).status).toBe(404);
    expect((await ask('', 'POST')).status).toBe(405);
  });

  it('keeps the number of its labels within bounds, whatever reasons plugins make up', async () => {
    let count = 0;
    const { rig, ask } = await measured(
      {},
      guest((hooks) => hooks.detectId.tap({ name: 'guest', stage: -1 }, () => refusal(`reason-${count++}`))),
    );
    rig.client().send('x\n'.repeat(100));
    const { text } = await ask();
    expect(text).toContain('reason="reason-63",ordinary="false"} 1\n');
    expect(text).not.toContain('reason="reason-64"');
    expect(text).toContain('reason="other",ordinary="false"} 36\n');
  });
});

it('no label holds an address, an id or payload', async () => {
  const { rig, ask } = await measured({ hookSample: 1 });
  const before = (await ask()).text.split('\n').length;
  for (let index = 1; index <= 20; index++) {
    rig.client(`198.51.100.${index}`).send(`!group-${index} payload-${index}\n@nobody-${index} hello\n`);
  }
  rig.advance(1000);
  const { text } = await ask();
  expect(text).toContain('pointsman_messages_received_total{listener="edge",from="client"} 40');
  for (const [labels] of text.matchAll(/\{.*\}/g)) expect(labels).not.toMatch(/198\.51|group-|payload|nobody|10\.0\.0/);
  // Only what has happened for the first time makes lines of its own.
  const few = 60;
  expect(text.split('\n').length).toBeLessThan(before + few);
});

const folder = 'test/examples/monitoring';

/** The metrics that there are, each with the labels that it has. */
async function metricsThatExist(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const { rig, ask } = await measured({ hookSample: 1 });
  rig.client().send('one\n?\nbye\n');
  rig.advance(30);
  rig.backend('a').link.send('#1 done\n');
  rig.advance(1000);
  const known = new Map<string, Set<string>>();
  for (const [, name, labels = ''] of (await ask()).text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const its = known.get(name!) ?? new Set();
    for (const [, label] of labels.matchAll(/(\w+)="/g)) its.add(label!);
    known.set(name!, its);
  }
  return known;
}

/** Labels that Prometheus adds. */
const added = ['instance', 'job'];

function expectToBeKnown(expression: string, known: ReadonlyMap<string, ReadonlySet<string>>): void {
  const names = [...expression.matchAll(/\b(?:pointsman|nodejs|process)_\w+/g)].map(([name]) => name);
  expect(names.length, expression).toBeGreaterThan(0);
  for (const name of names) expect([...known.keys()], expression).toContain(name);
  const labels = [...added, ...names.flatMap((name) => [...known.get(name)!])];
  for (const [, list] of expression.matchAll(/\b(?:by|on) \(([^)]*)\)/g)) {
    for (const label of list!.split(', ')) expect(labels, expression).toContain(label);
  }
  for (const [, label] of expression.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)) expect(labels, expression).toContain(label);
}

describe('the example', () => {
  it('alerts.yaml has rules about metrics that exist', async () => {
    const { groups } = parse(readFileSync(join(folder, 'alerts.yaml'), 'utf8'));
    const known = await metricsThatExist();
    const rules = groups.flatMap(({ rules }: { rules: Record<string, unknown>[] }) => rules);
    expect(rules.length).toBeGreaterThan(5);
    for (const { alert, expr, annotations } of rules) {
      expect(annotations, alert).toHaveProperty('summary');
      expectToBeKnown(String(expr), known);
    }
  });

  it('dashboard.json has panels about metrics that exist', async () => {
    const { panels } = JSON.parse(readFileSync(join(folder, 'dashboard.json'), 'utf8'));
    const known = await metricsThatExist();
    const targets = panels.flatMap(({ targets = [] }: { targets?: { expr: string }[] }) => targets);
    expect(targets.length).toBeGreaterThan(8);
    for (const { expr } of targets) expectToBeKnown(expr, known);
  });
});
