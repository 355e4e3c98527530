/** SMPP with smpp (npm), clients and servers, through `length-prefixed`. */
import { once } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { balance, listen } from '../support/peers.ts';
import { type Pdu, type Session, smpp } from '../support/smpp.ts';

const serverNames = ['a', 'b', 'c'];

/** What one server has seen. */
interface ServerLog {
  /** The `system_id` of each bind. */
  readonly binds: string[];
  /** The `source_addr` of each message. */
  readonly submits: string[];
  /** The `message_id` of each delivery that was acknowledged. */
  readonly delivered: string[];
  enquiries: number;
  unbinds: number;
  /** Connections that are open. */
  sessions: number;
}

interface Options {
  readonly links: 'shared' | 'dedicated';
  /** The servers take messages on connections that were bound only. */
  readonly mustBind: boolean;
}

/** Three SMPP servers and a balancer. */
async function start({ links, mustBind }: Options) {
  const logs: Record<string, ServerLog> = {};
  const ports: Record<string, number> = {};
  for (const name of serverNames) {
    const log: ServerLog = { binds: [], submits: [], delivered: [], enquiries: 0, unbinds: 0, sessions: 0 };
    logs[name] = log;
    ports[name] = await listen(smpp.createServer((session) => serve(name, session, log, mustBind)));
  }
  const replay = 'replay: { offset: 4, values: [1, 2, 9], answers: [0x80000001, 0x80000002, 0x80000009, 0x80000000] }';
  const balancer = await balance(`
    pools:
      gateways:
        links: ${links}
        backends: { ${serverNames.map((name) => `${name}: tcp://127.0.0.1:${ports[name]}`).join(', ')} }
    listeners:
      edge:
        listen: tcp://127.0.0.1:0
        pool: gateways
        pipeline:
          - length-prefixed:
              length: { size: 4, adjust: -4 }
              correlation: { offset: 12, size: 4, answers: { offset: 4, mask: 128, value: 128 } }
              ${mustBind ? replay : ''}
          - round-robin: {}
  `);
  const connect = async () => {
    const session = smpp.connect({ host: '127.0.0.1', port: balancer.port });
    session.setMaxListeners(0); // one for each request that waits
    onTestFinished(() => session.destroy());
    await once(session, 'connect');
    return session;
  };
  return { balancer, logs, connect };
}

function serve(name: string, session: Session, log: ServerLog, mustBind: boolean): void {
  let systemId = '';
  log.sessions++;
  session.on('close', () => log.sessions--);
  session.on('error', () => {}); // a reset when the test ends
  session.on('bind_transceiver', (bind: Pdu) => {
    const isWelcome = systemId === '' && bind.password === 'secret';
    if (isWelcome) log.binds.push((systemId = String(bind.system_id)));
    session.send(bind.response(isWelcome ? { system_id: name } : { command_status: smpp.ESME_RINVPASWD }));
  });
  session.on('submit_sm', (submit: Pdu) => {
    if (mustBind && systemId === '') {
      session.send(submit.response({ command_status: smpp.ESME_RINVBNDSTS }));
      return;
    }
    log.submits.push(String(submit.source_addr));
    const id = `${name}/${submit.destination_addr}`;
    session.send(submit.response({ message_id: id }));
    if (submit.registered_delivery !== 1) return;
    const receipt = new smpp.PDU('deliver_sm', {
      source_addr: submit.destination_addr,
      destination_addr: submit.source_addr,
      receipted_message_id: id,
    });
    session.send(receipt, (answer) => log.delivered.push(`${id} ${answer.command_status}`));
  });
  session.on('enquire_link', (enquiry: Pdu) => {
    log.enquiries++;
    session.send(enquiry.response());
  });
  session.on('unbind', (unbind: Pdu) => {
    log.unbinds++;
    session.send(unbind.response());
  });
}

function ask(session: Session, command: string, fields: object = {}): Promise<Pdu> {
  return new Promise((resolve, reject) => {
    session.once('close', () => reject(new Error(`closed before the answer to ${command}`)));
    const request = new smpp.PDU(command, fields);
    session.send(request, (answer) => {
      expect(answer.sequence_number).toBe(request.sequence_number);
      resolve(answer);
    });
  });
}

/** Sends so many messages at once; checks that each answer is its own. */
async function submit(session: Session, from: string, count: number, fields: object = {}): Promise<string[]> {
  const answers = Array.from({ length: count }, async (_, n) => {
    const to = `${from}-${n}`;
    const short_message = `from ${from}, number ${n}`;
    const answer = await ask(session, 'submit_sm', {
      source_addr: from,
      destination_addr: to,
      short_message,
      ...fields,
    });
    expect(answer).toMatchObject({ command: 'submit_sm_resp', command_status: 0 });
    const [server, echoed] = String(answer.message_id).split('/');
    expect(echoed).toBe(to);
    return server!;
  });
  return Promise.all(answers);
}

const clientNames = Array.from({ length: 10 }, (_, n) => `client${n}`);

describe('on dedicated links', () => {
  const options: Options = { links: 'dedicated', mustBind: true };

  it('spreads the messages of each client over three servers, at each of which it is bound', async () => {
    const { balancer, logs, connect } = await start(options);
    await Promise.all(
      clientNames.map(async (name) => {
        const session = await connect();
        const bound = await ask(session, 'bind_transceiver', { system_id: name, password: 'secret' });
        expect(bound).toMatchObject({ command: 'bind_transceiver_resp', command_status: 0 });
        expect(serverNames).toContain(bound.system_id);
        expect(new Set(await submit(session, name, 30)).size).toBe(3);

        for (let n = 0; n < 3; n++) {
          expect(await ask(session, 'enquire_link')).toMatchObject({ command: 'enquire_link_resp', command_status: 0 });
        }
        expect(await ask(session, 'unbind')).toMatchObject({ command: 'unbind_resp', command_status: 0 });
        session.close();
        await once(session, 'close');
      }),
    );

    for (const server of serverNames) {
      expect(logs[server]!.binds.sort()).toEqual(clientNames);
      expect(logs[server]!.submits.length).toBeGreaterThan(80);
    }
    const total = (count: (log: ServerLog) => number) => Object.values(logs).reduce((sum, log) => sum + count(log), 0);
    expect(total((log) => log.submits.length)).toBe(300);
    expect(total((log) => log.enquiries)).toBe(30);
    expect(total((log) => log.unbinds)).toBe(10);

    const stats = balancer.stats();
    expect(balances(stats)).toBe(true);
    // 10 binds, 300 messages, 30 enquiries, 10 unbinds; each client's further two binds are replays, whose answers end here.
    expect(stats.fromClients).toMatchObject({ received: 350, forwarded: 350 });
    expect(stats.fromBackends).toMatchObject({ received: 370, forwarded: 350, discarded: 20 });
    expect(stats.routes.strategy).toBe(350);
    expect(balancer.complaints).toEqual([]);
  });

  it('brings what servers deliver to the client that it is for, and its answer to the server that sent it', async () => {
    const { balancer, logs, connect } = await start(options);
    const delivered = clientNames.slice(0, 5).map(async (name) => {
      const session = await connect();
      const receipts: string[] = [];
      const all = new Promise<void>((resolve) => {
        session.on('deliver_sm', (receipt: Pdu) => {
          expect(receipt.destination_addr).toBe(name);
          receipts.push(String(receipt.receipted_message_id));
          session.send(receipt.response());
          if (receipts.length === 12) resolve();
        });
      });
      await ask(session, 'bind_transceiver', { system_id: name, password: 'secret' });
      const servers = await submit(session, name, 12, { registered_delivery: 1 });
      await all;
      return servers.map((server, n) => `${server}/${name}-${n}`);
    });
    const ids = (await Promise.all(delivered)).flat();
    for (const server of serverNames) {
      const expected = ids.filter((id) => id.startsWith(server)).map((id) => `${id} 0`);
      await vi.waitFor(() => expect(logs[server]!.delivered.sort()).toEqual(expected.sort()));
    }
    expect(balances(balancer.stats())).toBe(true);
  });

  it('passes on the refusal of a bind', async () => {
    const { connect } = await start(options);
    const session = await connect();
    const refused = await ask(session, 'bind_transceiver', { system_id: 'client', password: 'wrong' });
    expect(refused).toMatchObject({ command: 'bind_transceiver_resp', command_status: smpp.ESME_RINVPASWD });
  });
});

describe('on shared links', () => {
  it('brings each answer to its client under its own sequence number, though all clients use the same', async () => {
    const { balancer, logs, connect } = await start({ links: 'shared', mustBind: false });
    await Promise.all(
      clientNames.map(async (name) => {
        const session = await connect();
        await submit(session, name, 30);
        await ask(session, 'enquire_link');
      }),
    );
    for (const server of serverNames) expect(logs[server]!.sessions).toBe(1);
    const stats = balancer.stats();
    expect(balances(stats)).toBe(true);
    expect(stats.fromClients).toMatchObject({ received: 310, forwarded: 310 });
    expect(stats.fromBackends).toMatchObject({ received: 310, forwarded: 310 });
    expect(stats.routes).toMatchObject({ strategy: 310, correlation: 310 });
    expect(stats.exchanges).toEqual({ open: 0, expired: 0, abandoned: 0, refused: 0 });
    expect(balancer.complaints).toEqual([]);
  });
});
