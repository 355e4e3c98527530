/** What Prometheus (Debian) says of the examples in test/examples/monitoring. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { stringify } from 'yaml';
import { describeWith, run, temporaryFolder } from '../support/peers.ts';

const monitoring = join(process.cwd(), 'test/examples/monitoring');

async function promtool(...args: readonly string[]): Promise<void> {
  const tool = run('promtool', args, { folder: monitoring, deadlineSeconds: 60 });
  expect(await tool.exited, tool.output()).toBe(0);
}

describeWith('promtool', 'prometheus', 'Prometheus', () => {
  it('understands the alert rules, and they fire when they should', async () => {
    await promtool('check', 'rules', 'alerts.yaml');
    await promtool('test', 'rules', 'alerts.test.yaml');
  });

  it('understands what the dashboard asks', async () => {
    const { panels } = JSON.parse(readFileSync(join(monitoring, 'dashboard.json'), 'utf8'));
    const targets = panels.flatMap(({ targets }: { targets: { expr: string }[] }) => targets);
    // Grafana fills its variables in; rules are what promtool checks expressions in.
    const rules = targets.map(({ expr }: { expr: string }, index: number) => ({
      record: `panel_${index}`,
      expr: expr.replaceAll('$__rate_interval', '1m'),
    }));
    const file = join(temporaryFolder(), 'rules.yaml');
    writeFileSync(file, stringify({ groups: [{ name: 'dashboard', rules }] }));
    await promtool('check', 'rules', file);
  });
});
