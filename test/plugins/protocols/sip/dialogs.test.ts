/** Many calls, subscriptions and cancelled calls at once: whose each message is, and what floods and changes of the pool do to them. */
import { describe, expect, it } from 'vitest';
import sip from '../../../../plugins/protocols/sip/index.ts';
import roundRobin from '../../../../plugins/strategies/round-robin.ts';
import type { Rig, RigOptions, Wire } from '../../../support/embedded.ts';
import {
  calleeRoutes,
  callerRoutes,
  parse,
  type RequestOptions,
  request,
  respond,
  type SipMessage,
  sipRig,
  value,
  values,
} from './ua.ts';

/** What both ends of one dialog know of it. */
class Dialog {
  readonly callId: string;
  readonly client: Wire;
  /** Where it began. */
  backend = '';
  /** The request that began it, as its backend has it. */
  initial!: SipMessage;
  routes: string[] = [];
  #cseq = 0;

  constructor(callId: string, client: Wire) {
    this.callId = callId;
    this.client = client;
  }

  /** A request of the caller: the first one, or one in the dialog. */
  request(method: string, options: RequestOptions = {}): string {
    const { callId } = this;
    const inDialog = this.routes.length > 0 ? { toTag: 'bob', extra: this.routes } : {};
    if (method !== 'ACK' && method !== 'CANCEL') this.#cseq++;
    return request(method, {
      callId,
      cseq: this.#cseq,
      branch: `z9hG4bK${callId}-${this.#cseq}-${method}`,
      ...inDialog,
      ...options,
    });
  }

  /** What belongs to its first transaction. */
  ofFirst(method: string, options: RequestOptions = {}): string {
    const { callId } = this;
    return request(method, { callId, cseq: 1, branch: `z9hG4bK${callId}-1-INVITE`, ...options });
  }

  /** A request of the callee. */
  fromCallee(method: string): string {
    const { callId, initial } = this;
    return request(method, {
      callId,
      fromTag: 'bob',
      toTag: 'alice1',
      cseq: 1,
      branch: `z9hG4bK${callId}-bob`,
      extra: calleeRoutes(initial),
    });
  }
}

/** Lets every dialog take the same step before any takes the next. */
class Crowd {
  readonly dialogs: readonly Dialog[];
  readonly #rig: Rig;
  /** How many messages have come to where they belong. */
  arrived = 0;

  constructor(rig: Rig, dialogs: number, clients: number) {
    this.#rig = rig;
    const wires = Array.from({ length: clients }, () => rig.client());
    this.dialogs = Array.from({ length: dialogs }, (_, index) => new Dialog(`call-${index}`, wires[index % clients]!));
  }

  /** Each sends that; it comes to the dialog's backend, and to no other. Answers what came, by Call-ID. */
  toBackends(dialogs: readonly Dialog[], write: (dialog: Dialog) => string): Map<string, SipMessage> {
    for (const dialog of dialogs) dialog.client.send(write(dialog));
    const got = new Map<string, SipMessage>();
    for (const backend of this.#rig.backends) {
      const { name } = backend;
      for (const message of parse(backend.text())) {
        const callId = value(message, 'Call-ID');
        const dialog = dialogs.find((each) => each.callId === callId);
        if (dialog === undefined || got.has(callId)) throw new Error(`${name} got what is not for it: ${callId}`);
        if (dialog.backend !== '' && dialog.backend !== name) throw new Error(`${callId} crossed to ${name}`);
        dialog.backend = name;
        got.set(callId, message);
      }
    }
    expect(got.size).toBe(dialogs.length);
    this.arrived += got.size;
    return got;
  }

  /** The backend of each sends that; it comes to the dialog's client, and to no other. */
  toClients(dialogs: readonly Dialog[], write: (dialog: Dialog) => string): Map<string, SipMessage> {
    for (const dialog of dialogs) this.#rig.backend(dialog.backend).link.send(write(dialog));
    const got = new Map<string, SipMessage>();
    for (const client of new Set(dialogs.map(({ client }) => client))) {
      for (const message of parse(client.text())) {
        const callId = value(message, 'Call-ID');
        const dialog = dialogs.find((each) => each.callId === callId);
        if (dialog?.client !== client || got.has(callId)) throw new Error(`${callId} crossed to another client`);
        got.set(callId, message);
      }
    }
    expect(got.size).toBe(dialogs.length);
    this.arrived += got.size;
    return got;
  }

  /** A request of each, and a final answer of that status. */
  ask(dialogs: readonly Dialog[], method: string, status = '200 OK'): void {
    const requests = this.toBackends(dialogs, (dialog) => dialog.request(method));
    const answers = this.toClients(dialogs, ({ callId }) => respond(requests.get(callId)!, status, 'bob'));
    for (const answer of answers.values()) expect(answer.startLine).toBe(`SIP/2.0 ${status}`);
  }

  /** A request of each callee, and its answer. */
  askBack(dialogs: readonly Dialog[], method: string): void {
    const requests = this.toClients(dialogs, (dialog) => dialog.fromCallee(method));
    this.toBackends(dialogs, ({ callId }) => respond(requests.get(callId)!, '200 OK'));
  }

  /** The first request of each, which its callee answers, by turns, with these statuses. */
  begin(dialogs: readonly Dialog[], method: string, ...statuses: string[]): void {
    const requests = this.toBackends(dialogs, (dialog) => dialog.request(method));
    for (const dialog of dialogs) dialog.initial = requests.get(dialog.callId)!;
    for (const status of statuses) {
      const answers = this.toClients(dialogs, ({ initial }) => respond(initial, status, 'bob'));
      if (status === '200 OK') for (const dialog of dialogs) dialog.routes = callerRoutes(answers.get(dialog.callId)!);
    }
  }
}

const crowd = async (dialogs: number, clients: number, options: Partial<RigOptions> = {}) => {
  const rig = await sipRig(options);
  return { rig, crowd: new Crowd(rig, dialogs, clients) };
};

describe('1,000 dialogs of all kinds at once', () => {
  it('have each request at their backend and each response at their connection, none crossed', async () => {
    const { rig, crowd: all } = await crowd(1000, 100);
    const kind = (kinds: readonly number[]) => all.dialogs.filter((_, index) => kinds.includes(index % 4));
    const [ended, endedByCallee, cancelled, subscribed] = [kind([0]), kind([1]), kind([2]), kind([3])];
    const calls = kind([0, 1]);

    all.begin(calls, 'INVITE', '100 Trying', '180 Ringing', '200 OK');
    all.begin(cancelled, 'INVITE', '180 Ringing');
    all.begin(subscribed, 'SUBSCRIBE', '200 OK');
    all.toBackends(calls, (dialog) => dialog.request('ACK'));
    all.askBack(subscribed, 'NOTIFY');
    all.ask(calls, 'UPDATE');
    const cancels = all.toBackends(cancelled, (dialog) => dialog.ofFirst('CANCEL'));
    all.toClients(cancelled, ({ callId }) => respond(cancels.get(callId)!, '200 OK'));
    all.ask(calls, 'INFO');
    all.toClients(cancelled, ({ initial }) => respond(initial, '487 Request Terminated', 'bob'));
    all.toBackends(cancelled, (dialog) => dialog.ofFirst('ACK', { toTag: 'bob' }));
    all.ask(calls, 'INVITE', '488 Not Acceptable Here');
    all.ask(subscribed, 'SUBSCRIBE');
    all.ask(ended, 'BYE');
    all.askBack(endedByCallee, 'BYE');

    const used = new Set(all.dialogs.map(({ backend }) => backend));
    expect(used.size).toBe(3);
    expect(all.arrived).toBe(9500);
    const { fromClients, fromBackends, connections } = rig.stats();
    expect([fromClients.refused, fromClients.discarded, fromBackends.refused, fromBackends.discarded]).toEqual([
      0, 0, 0, 0,
    ]);
    expect(connections.open).toBe(100);
  }, 60_000);
});

describe('a call that rings while the pool changes', () => {
  it.each(['added', 'removed'])('is cancelled after 170 s where it rings: a backend is %s', async (how) => {
    const { rig, crowd: all } = await crowd(60, 10, { backends: ['a', 'b', 'c', 'd'] });
    all.begin(all.dialogs, 'INVITE', '180 Ringing');
    const [pool] = rig.settings.pools;
    const { backends } = pool!;
    const address = { transport: 'tcp', host: '10.0.0.9', port: 7000, path: '' } as const;
    const changed = how === 'added' ? [{ name: 'e', address, weight: 1 }, ...backends] : backends.slice(1);
    await rig.runtime.until(rig.balancer.reload({ ...rig.settings, pools: [{ ...pool!, backends: changed }] }));
    rig.advance(170_000);

    const ringing = all.dialogs.filter(({ backend }) => how === 'added' || backend !== 'a');
    expect(ringing.length).toBeGreaterThan(30);
    const cancels = all.toBackends(ringing, (dialog) => dialog.ofFirst('CANCEL'));
    all.toClients(ringing, ({ callId }) => respond(cancels.get(callId)!, '200 OK'));
    all.toClients(ringing, ({ initial }) => respond(initial, '487 Request Terminated', 'bob'));
    all.toBackends(ringing, (dialog) => dialog.ofFirst('ACK', { toTag: 'bob' }));
  });
});

describe('a call that rings while another key becomes the first', () => {
  const [k1, k2] = ['k1', 'k2'].map((id, index) => ({ id, secret: Buffer.alloc(32, index + 1) }));
  it.each([
    ['the first one', [], [k1!]],
    ['the one behind it', [k1!, k2!], [k2!, k1!]],
    ['a new one', [k1!], [k2!, k1!]],
  ])('is cancelled and acknowledged in its transaction: %s', async (_which, before, after) => {
    const { rig, crowd: all } = await crowd(20, 5, { keys: before });
    all.begin(all.dialogs, 'INVITE', '180 Ringing');
    await rig.runtime.until(rig.balancer.reload({ ...rig.settings, keys: after }));

    const branchOf = (message: SipMessage) => /branch=([^;]+)/.exec(values(message, 'Via')[0]!)![1];
    const cancels = all.toBackends(all.dialogs, (dialog) => dialog.ofFirst('CANCEL'));
    all.toClients(all.dialogs, ({ callId }) => respond(cancels.get(callId)!, '200 OK'));
    all.toClients(all.dialogs, ({ initial }) => respond(initial, '487 Request Terminated', 'bob'));
    const acks = all.toBackends(all.dialogs, (dialog) => dialog.ofFirst('ACK', { toTag: 'bob' }));
    for (const { callId, initial } of all.dialogs) {
      expect(branchOf(cancels.get(callId)!)).toBe(branchOf(initial));
      expect(branchOf(acks.get(callId)!)).toBe(branchOf(initial));
    }
  });
});

describe('a flood of new calls', () => {
  it('pushes ringing calls out of a small table, but leaves those alone that are established', async () => {
    const { rig, crowd: all } = await crowd(30, 5, {
      pipeline: [[sip], [roundRobin]],
      limits: { affinityEntries: 64 },
    });
    all.begin(all.dialogs, 'INVITE', '200 OK');
    const flood = rig.client();
    for (let n = 0; n < 2000; n++) flood.send(request('INVITE', { callId: `flood-${n}`, branch: `z9hG4bKflood-${n}` }));
    for (const { link } of rig.backends) link.take();
    expect(rig.stats().affinity.entries).toBe(64);
    expect(rig.stats().affinity.evicted).toBeGreaterThan(1900);

    all.toBackends(all.dialogs, (dialog) => dialog.request('ACK'));
    all.ask(all.dialogs, 'INFO');
    all.askBack(all.dialogs, 'BYE');
  });
});
