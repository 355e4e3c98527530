/** The dashboard in a real browser, on a balancer that runs with backends and clients on loopback sockets. */
import { EventEmitter } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import axe from 'axe-core';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { run } from '../../core/cli/run.ts';
import { collect } from '../core/cli/streams.ts';
import { built } from '../support/built.ts';
import { describeWith, dial, listen, temporaryFolder } from '../support/peers.ts';
import { freePort } from '../support/programs.ts';

const token = 'a token of the tests';

class FakeProcess extends EventEmitter {
  exit(): void {}
}

/** Answers what it is sent. */
const echo = () => net.createServer((socket) => socket.on('error', () => {}).pipe(socket));

interface Wanted {
  readonly backends?: number;
  readonly withToken?: boolean;
}

async function balance({ backends = 2, withToken = false }: Wanted = {}) {
  const folder = temporaryFolder();
  const [port, adminPort] = [await freePort(), await freePort()];
  const good = await listen(echo());
  const nobody = await freePort();
  const list = Array.from({ length: backends }, (_, index) => {
    return `      worker-${index + 1}: { address: "tcp://127.0.0.1:${index < 2 ? good : nobody}" }`;
  });
  writeFileSync(
    join(folder, 'config.yaml'),
    `keys: [{ id: k1, secret: "a secret that stands in the config" }]
pools:
  calls:
    checks: [{ tcp-connect: {} }]
    backends:
${list.join('\n')}
listeners: { edge: { listen: "tcp://127.0.0.1:${port}", pool: calls, pipeline: [{ ndjson: { correlation: id } }, { round-robin: }] } }
observers: [{ admin: { listen: "tcp://127.0.0.1:${adminPort}"${withToken ? `, token: "${token}"` : ''} } }]
`,
  );
  let stop: (() => Promise<void>) | undefined;
  const start = async () => {
    const output = collect();
    const signals = new FakeProcess();
    const up = new Promise<void>((resolve, reject) => {
      const write = output.stdout.write.bind(output.stdout);
      output.stdout.write = (text) => {
        write(text);
        if (text.includes('"started"')) resolve();
      };
      output.stderr.write = (text) =>
        text.includes('nothing was started') || text.includes('cannot') ? reject(new Error(text)) : undefined;
    });
    const ended = run([join(folder, 'config.yaml')], { logLevel: 'info', stopSeconds: 0 }, output, signals as never);
    await up;
    stop = async () => {
      stop = undefined;
      signals.emit('SIGTERM', 'SIGTERM');
      await ended;
    };
  };
  await start();
  onTestFinished(() => stop?.());
  return { url: `http://127.0.0.1:${adminPort}/`, port, start, stop: () => stop!() };
}

describeWith('chromium', 'chromium', 'the dashboard', () => {
  let browser: Browser;
  beforeAll(async () => {
    built('plugins/observers/admin/dashboard/index.html');
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-dev-shm-usage'];
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
  }, 60_000);
  afterAll(() => browser?.close());

  async function open(url: string, options: { colorScheme?: 'light' | 'dark'; width?: number } = {}) {
    const { colorScheme = 'light', width = 1440 } = options;
    const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
    onTestFinished(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    const complaints: string[] = [];
    const elsewhere: string[] = [];
    page.on('pageerror', ({ message }) => complaints.push(message));
    page.on('console', (message) => {
      if (message.type() === 'error' && !message.text().includes('Failed to load resource'))
        complaints.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) elsewhere.push(request.url());
    });
    await page.goto(url);
    return { page, complaints, elsewhere };
  }

  const row = (page: Page, name: string) => page.locator('tr', { has: page.getByText(name, { exact: true }) });

  /** What axe finds. It is put there by the browser's protocol: the page itself may load nothing of the sort. */
  async function violations(page: Page): Promise<string[]> {
    await page.evaluate(axe.source);
    const found = await page.evaluate(() => (globalThis as unknown as { axe: { run(): Promise<unknown> } }).axe.run());
    const { violations } = found as { violations: { id: string; nodes: { html: string }[] }[] };
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
  }

  it('lets operators change states and weights, and shows what others have changed', async () => {
    const { url } = await balance();
    const { page, complaints, elsewhere } = await open(url);
    const first = row(page, 'worker-1');
    for (const [state, status] of [
      ['drain', 'drain'],
      ['maint', 'maint'],
      ['ready', 'up'],
    ] as const) {
      await first.getByRole('button', { name: state }).click();
      await first.locator(`.status.${status}`).waitFor();
      expect(await first.getByRole('button', { name: state }).getAttribute('aria-pressed')).toBe('true');
    }
    const weight = page.getByLabel('Weight of calls/worker-1');
    await weight.fill('7');
    await weight.press('Enter');
    await page.getByRole('status').filter({ hasText: 'calls/worker-1: weight 7.' }).waitFor();
    const { backends } = (await (await fetch(`${url}v1/backends`)).json()) as { backends: object[] };
    expect(backends[0]).toMatchObject({ name: 'worker-1', state: 'ready', weight: 7 });

    const headers = { 'content-type': 'application/json' };
    await fetch(`${url}v1/backends/calls/worker-2`, { method: 'PATCH', headers, body: '{"state":"drain"}' });
    await row(page, 'worker-2').locator('.status.drain').waitFor();
    expect([complaints, elsewhere]).toEqual([[], []]);
  }, 60_000);

  it('says first what is wrong, and shows the backends that are meant', async () => {
    const { url, port } = await balance({ backends: 4 });
    const { page } = await open(url);
    const wrong = page.getByRole('region', { name: 'What is wrong' });
    await wrong.getByText(/calls\/worker-3 is (down|failing): .*ECONNREFUSED/).waitFor();
    const client = await dial(port);
    client.write('{"id":1,"backend":"nobody"}\n');
    await wrong.getByText(/edge refuses \d\.\d messages\/s: forged-identifier/).waitFor();
    await wrong.getByRole('button', { name: 'Show' }).first().click();
    await expect.poll(() => page.locator('table.backends tbody tr').count()).toBe(2);
    for (const name of ['worker-3', 'worker-4']) await row(page, name).getByRole('button', { name: 'maint' }).click();
    await wrong.getByText('Nothing is wrong').waitFor();
  }, 60_000);

  it('can be used by keyboard alone', async () => {
    const { url } = await balance();
    const { page } = await open(url);
    await row(page, 'worker-1').waitFor();
    await page.keyboard.press('Tab');
    await page.getByRole('link', { name: 'Skip to the backends' }).and(page.locator(':focus')).waitFor();
    await page.keyboard.press('Enter');
    const tabTo = async (wanted: Locator) => {
      const isThere = () => wanted.evaluate((element) => element === element.ownerDocument.activeElement);
      for (let tabs = 0; tabs < 12 && !(await isThere()); tabs++) await page.keyboard.press('Tab');
      expect(await isThere()).toBe(true);
    };
    const weight = page.getByLabel('Weight of calls/worker-1');
    await tabTo(weight);
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.type('3');
    await page.keyboard.press('Enter');
    await page.getByRole('status').filter({ hasText: 'calls/worker-1: weight 3.' }).waitFor();
    const drain = row(page, 'worker-1').getByRole('button', { name: 'drain' });
    await tabTo(drain);
    await page.keyboard.press('Space');
    await row(page, 'worker-1').locator('.status.drain').waitFor();
  }, 60_000);

  it('shows decisions as they are made, pauses and filters them, and takes what clients send for text', async () => {
    const { url, port } = await balance();
    const { page, complaints } = await open(url);
    const client = await dial(port);
    const timer = setInterval(
      () => client.write('{"id":"<img src=x onerror=alert(1)>"}\n{"id":1,"backend":"<b>x</b>"}\n'),
      50,
    );
    onTestFinished(() => clearInterval(timer));
    const decisions = page.locator('table.decisions tbody tr');
    await decisions.filter({ hasText: 'strategy' }).first().waitFor();
    await decisions.filter({ hasText: 'refused' }).first().waitFor();
    await page.getByLabel('Only decisions by reason').fill('strategy');
    // What had come before the filter was applied is there for a while: until other decisions have taken its place.
    await vi.waitFor(
      async () => {
        const texts = await decisions.allInnerTexts();
        expect(texts.length).toBeGreaterThan(5);
        expect(texts.filter((text) => !text.includes('strategy'))).toEqual([]);
      },
      { timeout: 30_000, interval: 200 },
    );
    await page.getByRole('button', { name: 'Pause' }).click();
    await page.getByRole('button', { name: 'Clear' }).click();
    await decisions.filter({ hasText: 'Paused.' }).waitFor();
    await page.getByRole('button', { name: 'Resume' }).click();
    await decisions.filter({ hasText: 'strategy' }).first().waitFor();
    const requests = page.locator('.glance div').filter({ hasText: 'Requests' }).locator('dd');
    await vi.waitFor(async () => expect(Number.parseFloat(await requests.innerText())).toBeGreaterThan(1), {
      timeout: 20_000,
    });
    expect(complaints).toEqual([]);
  }, 90_000);

  it('shows names and reasons as text, whatever stands in them, and the config with secrets masked', async () => {
    const { url } = await balance();
    const hostile = '<script>document.title = "taken"</script><img src=x onerror="document.title = \'taken\'">';
    const context = await browser.newContext();
    onTestFinished(() => context.close());
    const page = await context.newPage();
    await page.route('**/v1/stats', async (route) => {
      const answer = await (await route.fetch()).json();
      answer.backends[0] = { ...answer.backends[0], name: hostile, why: hostile, status: 'failing' };
      answer.listeners[0] = { ...answer.listeners[0], name: hostile };
      await route.fulfill({ json: answer });
    });
    const event = {
      at: new Date().toISOString(),
      listener: hostile,
      from: 'client',
      client: hostile,
      reason: hostile,
      bytes: 1,
    };
    const body = `event: decision\ndata: ${JSON.stringify({ ...event, backend: hostile, outcome: 'refused' })}\n\n`;
    await page.route('**/v1/events**', (route) => route.fulfill({ contentType: 'text/event-stream', body }));
    await page.goto(url);
    await page.locator('table.decisions').getByText(hostile).first().waitFor();
    await page.locator('table.backends').getByText(hostile).first().waitFor();
    expect(await page.title()).toBe('pointsman');
    expect(await page.locator('main script, main img').count()).toBe(0);

    await page.getByText('As it was written').click();
    const config = page.locator('#config pre');
    await config.filter({ hasText: '"secret": "***"' }).waitFor();
    expect(await config.innerText()).not.toContain('a secret that');
  }, 60_000);

  it('comes back by itself when the balancer has been started again', async () => {
    const balancer = await balance();
    const { page } = await open(balancer.url);
    await page.locator('.live', { hasText: 'live' }).waitFor();
    await balancer.stop();
    await page.locator('.live', { hasText: 'reconnecting' }).waitFor();
    await balancer.start();
    await page.locator('.live.good', { hasText: 'live' }).waitFor();
  }, 60_000);

  it('asks for the token, and keeps it for the tab only', async () => {
    const { url } = await balance({ withToken: true });
    const { page } = await open(url);
    await page.getByLabel('Token').fill('not this one, I fear');
    await page.getByRole('button', { name: 'Open' }).click();
    await page.getByRole('alert').filter({ hasText: 'not the right one' }).waitFor();
    expect(await violations(page)).toEqual([]);
    await page.getByLabel('Token').fill(token);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Backends' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'Backends' }).waitFor();
    expect(await page.evaluate('[localStorage.length, document.cookie]')).toEqual([0, '']);
  }, 60_000);

  it.each(['light', 'dark'] as const)(
    'has nothing that axe objects to: %s',
    async (colorScheme) => {
      const { url, port } = await balance({ backends: 3 });
      const { page } = await open(url, { colorScheme });
      const client = await dial(port);
      client.write('{"id":1}\n{"id":1,"backend":"nobody"}\n');
      await row(page, 'worker-3').locator('.status.down, .status.failing').waitFor();
      await page.getByText('As it was written').click();
      await row(page, 'worker-1').getByRole('button', { name: 'drain' }).click();
      await row(page, 'worker-1').locator('.status.drain').waitFor();
      // When the page listens is for the page to know; until then decisions are not told.
      const timer = setInterval(() => client.write('{"id":2}\n{"id":3,"backend":"nobody"}\n'), 50);
      onTestFinished(() => clearInterval(timer));
      await page.locator('table.decisions tr.refused').first().waitFor();
      expect(await violations(page)).toEqual([]);
    },
    90_000,
  );

  it('is fine with 200 backends, finds one among them, and fits a phone', async () => {
    const { url } = await balance({ backends: 200 });
    const { page } = await open(url, { width: 390 });
    const rows = page.locator('table.backends tbody tr');
    await expect.poll(() => rows.count(), { timeout: 30_000 }).toBe(200);
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBe(0);
    for (const width of [1000, 1200, 1280, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      const hidden = '(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)(document.querySelector(".scroll"))';
      expect([width, await page.evaluate(hidden)]).toEqual([width, 0]);
    }
    await page.getByLabel('Find backends').fill('worker-177');
    await expect.poll(() => rows.count()).toBe(1);
    await rows.getByRole('button', { name: 'maint' }).click();
    await rows.locator('.status.maint').waitFor();
    await page.getByLabel('Find backends').fill('');
    await page.getByLabel('Show backends').selectOption('maint');
    await expect.poll(() => rows.count()).toBe(1);
  }, 90_000);
});
