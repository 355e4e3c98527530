/** The PROXY protocol with HAProxy (Debian): before pointsman, and behind it. */

import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { balance, describeWith, dial, listen, run, temporaryFolder, untilListening } from '../support/peers.ts';
import { freePort } from '../support/programs.ts';

async function haproxy(port: number, bind: string, server: string): Promise<void> {
  const folder = temporaryFolder();
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(
    file,
    `defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen edge
  bind 127.0.0.1:${port}${bind}
  server one 127.0.0.1:${server}
`,
  );
  await untilListening(port, run('haproxy', ['-f', file, '-db'], { folder, deadlineSeconds: 60 }));
}

/** Answers each line with the address of the client, as the header of its connection tells it. */
function echo(stream: net.Socket): void {
  let text = '';
  let header: string | undefined;
  stream.on('data', (bytes) => {
    text += bytes.toString('latin1');
    const lines = text.split('\n');
    text = lines.pop()!;
    for (const line of lines) {
      if (header === undefined) header = line.trim();
      else stream.write(`${JSON.stringify({ ...JSON.parse(line), header })}\n`);
    }
  });
  stream.on('error', () => {});
}

const config = (backend: number, proxyProtocol: string, listener: string) => `
pools:
  calls: { backends: { a: tcp://127.0.0.1:${backend} }, links: dedicated, proxyProtocol: ${proxyProtocol} }
listeners:
  edge:
    listen: tcp://127.0.0.1:0
    pool: calls
    pipeline: [{ ndjson: { id: backend } }, { round-robin: }]
    ${listener}
`;

async function ask(port: number): Promise<{ header: string; from: string }> {
  const client = await dial(port);
  client.write('{"id":1}\n');
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    client.once('data', resolve);
    client.once('close', () => reject(new Error('closed')));
  });
  return { header: JSON.parse(String(bytes)).header, from: `127.0.0.1 127.0.0.1 ${client.localPort}` };
}

describeWith('haproxy', 'haproxy', 'HAProxy', () => {
  it.each(['send-proxy', 'send-proxy-v2'])('before us (%s) tells whose connection it is', async (send) => {
    const backend = await listen(net.createServer(echo));
    const { port } = await balance(config(backend, 'v1', 'proxyProtocol: { from: [127.0.0.1] }'));
    const edge = await freePort();
    await haproxy(edge, '', `${port} ${send}`);
    const { header, from } = await ask(edge);
    expect(header).toBe(`PROXY TCP4 ${from} ${edge}`);
  });

  it.each(['v1', 'v2'])('behind us understands whose connection it is (%s)', async (version) => {
    const backend = await listen(net.createServer(echo));
    const inner = await freePort();
    await haproxy(inner, ' accept-proxy', `${backend} send-proxy`);
    const { port } = await balance(config(inner, version, ''));
    const { header, from } = await ask(port);
    expect(header).toBe(`PROXY TCP4 ${from} ${port}`);
  });
});
