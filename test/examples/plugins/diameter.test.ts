import { describe, expect, it } from 'vitest';
import roundRobin from '../../../plugins/strategies/round-robin.ts';
import {
  type Avp,
  capabilitiesExchange,
  creditControl,
  destinationHost,
  deviceWatchdog,
  diameterOf,
  originHost,
  readDiameter,
  resultCode,
  routeRecord,
  sessionId,
} from '../../support/diameter.ts';
import { embed, type RigOptions } from '../../support/embedded.ts';
import diameter from './diameter.ts';

const request = (id: number, ...avps: Avp[]) => diameterOf(0xc0, creditControl, id, ...avps);
const answer = (id: number, ...avps: Avp[]) => diameterOf(0x40, creditControl, id, ...avps);

const greeted = (link: { send(bytes: Uint8Array): void }, result = 2001) =>
  link.send(diameterOf(0, capabilitiesExchange, 0, [resultCode, result]));

const rigOf = (options: Partial<RigOptions> = {}) =>
  embed({
    pipeline: [[diameter, { host: 'dra.example.net', realm: 'example.net' }], [roundRobin]],
    backends: ['ocs-1', 'ocs-2'],
    ...options,
  });

/** Its servers have answered what they are asked when a link comes up. */
async function greetedRigOf(options: Partial<RigOptions> = {}) {
  const rig = await rigOf(options);
  for (const { link } of rig.backends) greeted(link);
  for (const backend of rig.backends) backend.take();
  return rig;
}

describe('the Diameter plugin of the examples', () => {
  it('exchanges capabilities with a server before it sends it anything', async () => {
    const rig = await rigOf({ backends: ['ocs-1'] });
    const server = rig.backend('ocs-1');
    rig.client().send(request(7, [sessionId, 'pgw;1;1']));
    expect(readDiameter(server.take())).toMatchObject([
      { flags: 0x80, command: 257, avps: { [originHost]: 'dra.example.net' } },
    ]);
    greeted(server.link);
    expect(readDiameter(server.take())).toMatchObject([{ flags: 0xc0, command: creditControl }]);
  });

  it('closes the link to a server that wants no relay', async () => {
    const rig = await rigOf({ backends: ['ocs-1'] });
    greeted(rig.backend('ocs-1').link, 5010);
    expect(rig.backend('ocs-1').links).toEqual([]);
  });

  it('answers capabilities and watchdogs, of clients and of servers', async () => {
    const rig = await greetedRigOf();
    const pgw = rig.client();
    pgw.send(diameterOf(0x80, capabilitiesExchange, 1, [originHost, 'pgw']));
    pgw.send(diameterOf(0x80, deviceWatchdog, 2, [originHost, 'pgw']));
    const avps = { [resultCode]: 2001, [originHost]: 'dra.example.net' };
    expect(readDiameter(pgw.take())).toMatchObject([
      { flags: 0, command: capabilitiesExchange, id: 1, endToEnd: 1001, avps },
      { flags: 0, command: deviceWatchdog, id: 2, endToEnd: 1002, avps },
    ]);
    const server = rig.backend('ocs-2');
    server.link.send(diameterOf(0x80, deviceWatchdog, 3, [originHost, 'ocs']));
    expect(readDiameter(server.take())).toMatchObject([{ flags: 0, command: deviceWatchdog, id: 3, avps }]);
    expect(rig.stats().fromClients).toMatchObject({ forwarded: 0, discardedFor: { 'of-connection': 2 } });
  });

  it('lets clients use the same Hop-by-Hop ids, and says in answers which server they come from', async () => {
    const rig = await greetedRigOf({ backends: ['ocs-1'] });
    const [one, other] = [rig.client(), rig.client()];
    one.send(request(7, [sessionId, 'one;1;1']));
    other.send(request(7, [sessionId, 'other;1;1']));
    const [first, second] = readDiameter(rig.backend('ocs-1').take());
    rig.backend('ocs-1').link.send(answer(second!.id, [sessionId, 'other;1;1'], [originHost, 'ocs']));
    rig.backend('ocs-1').link.send(answer(first!.id, [sessionId, 'one;1;1'], [originHost, 'ocs']));
    expect(first!.id).not.toBe(second!.id);
    const avps = { [originHost]: 'ocs-1.dra.example.net' };
    expect(readDiameter(one.take())).toMatchObject([{ id: 7, avps: { ...avps, [sessionId]: 'one;1;1' } }]);
    expect(readDiameter(other.take())).toMatchObject([{ id: 7, avps: { ...avps, [sessionId]: 'other;1;1' } }]);
  });

  it('sends what names a server there, without the name, and says whom it has it from', async () => {
    const rig = await greetedRigOf();
    const pgw = rig.client();
    pgw.send(diameterOf(0x80, capabilitiesExchange, 1, [originHost, 'pgw.example.net']));
    pgw.send(request(7, [sessionId, 'pgw;1;1'], [destinationHost, 'OCS-2.dra.example.net']));
    const [got] = readDiameter(rig.backend('ocs-2').take());
    expect(got!.avps).toEqual({ [sessionId]: 'pgw;1;1', [routeRecord]: 'pgw.example.net' });
  });

  it('leaves hosts that are not its own to the servers', async () => {
    const rig = await greetedRigOf();
    rig.client().send(request(7, [destinationHost, 'ocs.example.com']));
    expect(readDiameter(rig.backend('ocs-1').take())).toMatchObject([
      { avps: { [destinationHost]: 'ocs.example.com' } },
    ]);
    expect(rig.stats().routes).toMatchObject({ strategy: 1 });
  });

  it('refuses AVPs whose lengths cannot be, and what servers ask of clients', async () => {
    const rig = await greetedRigOf();
    const pgw = rig.client();
    const bytes = request(7, [sessionId, 'pgw;1;1']);
    bytes[27] = 99;
    pgw.send(bytes);
    expect(readDiameter(pgw.take())).toMatchObject([{ flags: 0x40, id: 7, avps: { [resultCode]: 5014 } }]);
    const server = rig.backend('ocs-1');
    server.link.send(diameterOf(0xc0, 258, 9, [sessionId, 'pgw;1;1']));
    expect(readDiameter(server.take())).toMatchObject([
      { flags: 0x60, command: 258, id: 9, avps: { [sessionId]: 'pgw;1;1', [resultCode]: 3002 } },
    ]);
  });

  it('answers what a server had when it went away, or sends it to another one, marked', async () => {
    for (const replay of [undefined, 'once'] as const) {
      const rig = await greetedRigOf({ pool: { replay } });
      rig.advance(5000);
      const pgw = rig.client();
      pgw.send(request(7, [sessionId, 'pgw;1;1']));
      rig.backend('ocs-1').down();
      const refused = { flags: 0x60, id: 7, endToEnd: 1007, avps: { [sessionId]: 'pgw;1;1', [resultCode]: 3002 } };
      expect(readDiameter(pgw.take())).toMatchObject(replay === undefined ? [refused] : []);
      const replayed = { flags: 0xd0, endToEnd: 1007, avps: { [sessionId]: 'pgw;1;1' } };
      expect(readDiameter(rig.backend('ocs-2').take())).toMatchObject(replay === undefined ? [] : [replayed]);
    }
  });
});
