import { describe, expect, it } from 'vitest';
import roundRobin from '../../../plugins/strategies/round-robin.ts';
import { embed } from '../../support/embedded.ts';
import mllp from './mllp.ts';

const block = (...segments: string[]) => `\x0b${segments.map((segment) => `${segment}\r`).join('')}\x1c\r`;
const rigOf = () => embed({ pipeline: [[mllp as never], [roundRobin as never]], backends: ['lab-1', 'lab-2'] });

describe('the MLLP plugin of the README', () => {
  it('gives messages without identifier to the labs in turn, and adds one', async () => {
    const rig = await rigOf();
    rig.client().send(block('MSH|1') + block('MSH|2'));
    expect(rig.backend('lab-1').text()).toBe(block('MSH|1', 'ZPM|lab-1'));
    expect(rig.backend('lab-2').text()).toBe(block('MSH|2', 'ZPM|lab-2'));
  });

  it('finds the lab that a message names, wherever the bytes are cut', async () => {
    const bytes = block('MSH|1', 'ZPM|lab-2', 'PID|7');
    for (let cut = 0; cut <= bytes.length; cut++) {
      const rig = await rigOf();
      const ward = rig.client();
      ward.send(bytes.slice(0, cut));
      ward.send(bytes.slice(cut));
      expect(rig.backend('lab-2').text()).toBe(bytes);
      rig.backend('lab-2').link.send(block('MSA|AA|1'));
      expect(ward.text()).toContain('MSA|AA|1');
    }
  });

  it('brings an answer that repeats the identifier to its client, not back to the lab', async () => {
    const rig = await rigOf();
    const ward = rig.client();
    ward.send(block('MSH|1'));
    rig.backend('lab-1').link.send(rig.backend('lab-1').take());
    expect(ward.text()).toBe(block('MSH|1', 'ZPM|lab-1'));
    expect(rig.backend('lab-1').text()).toBe('');
    expect(rig.stats().fromBackends).toMatchObject({ received: 1, forwarded: 1 });
  });

  it('closes a connection that speaks something else', async () => {
    const rig = await rigOf();
    const ward = rig.client();
    ward.send('GET / HTTP/1.1\r\n\r\n');
    expect(ward.ended).toBe(true);
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'no-start-block': 1 });
  });
});
