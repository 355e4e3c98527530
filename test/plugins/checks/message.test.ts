import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../core/runtime/address.ts';
import message from '../../../plugins/checks/message.ts';
import { checked } from '../../support/checks.ts';

/** What becomes of backend a when it gives this answer, and what it was asked. */
function ask(options: object, answer: string): { asked: string; news: string[] } {
  const { runner, backends, advance } = checked([[message, options]]);
  runner.start();
  advance(100);
  const asked = backends[0]!.link.text();
  for (const part of answer.split('|')) if (backends[0]!.links.length > 0) backends[0]!.link.send(part);
  return { asked, news: advance(600).filter((line) => line.startsWith('a ')) };
}

describe('the check by message', () => {
  it('sends bytes that are written as text, in hexadecimal or in base64', () => {
    expect(ask({ send: { text: 'PING\r\n' } }, '').asked).toBe('PING\r\n');
    expect(ask({ send: { hex: '50 49\n4e47' } }, '').asked).toBe('PING');
    expect(ask({ send: { base64: 'UElORw==' } }, '').asked).toBe('PING');
  });

  const send = { text: 'PING' };
  it.each([
    [{ contains: 'PONG' }, 'well: PO|NG!', []],
    [{ contains: 'PONG' }, 'PANG', ['a fails: message: no answer within 0.5 s, but "PANG"']],
    [{ pattern: '^P[OU]NG\\s' }, 'PUNG|\r\n', []],
    [{ bytes: 'PONG' }, 'P|O|N|G and more', []],
    [{ bytes: 'PONG' }, 'PA', ['a fails: message: not the answer that is expected, but "PA"']],
    [{ hex: '00 ff' }, '\x00|\xff', []],
    [{ hex: '00 ff' }, '\x00|\xfe', ['a fails: message: not the answer that is expected, but "··"']],
    [undefined, 'anything', []],
    [undefined, '', ['a fails: message: no answer within 0.5 s']],
  ])('expects %j, and takes %j for it or not', (expected, answer, news) => {
    expect(ask({ send, ...(expected && { expect: expected }) }, answer).news).toEqual(news);
  });

  it.each([
    [{}, 'there is nothing to send: it needs "send" or "form"'],
    [{ send, form: 'json-ping' }, 'send: the form has a message already'],
    [{ send: {} }, 'send: the bytes are written in one way, not in none or several'],
    [{ send: { text: 'a', hex: '61' } }, 'send: the bytes are written in one way, not in none or several'],
    [{ send: { hex: '6' } }, 'send.hex: bytes are pairs of hexadecimal digits'],
    [{ send: { base64: '?' } }, 'send.base64: this is not base64'],
    [{ send: { base64: 'UElOR' } }, 'send.base64: this is not base64'],
    [{ send, expect: { contains: 'a', bytes: 'a' } }, 'expect: one of contains, pattern, bytes and hex is enough'],
    [{ send, expect: { pattern: '(' } }, 'expect.pattern: Invalid regular expression: /(/: Unterminated group'],
  ])('says what is wrong with %j', (options, fault) => {
    expect(() => checked([[message, options]])).toThrow(`[message] check: ${fault}`);
  });
});

describe('the ready-made OPTIONS of SIP', () => {
  it('is a request of its own each time, for the backend itself', () => {
    const backends = [{ name: 'a', address: parseAddress('udp://[::1]:5060'), weight: 1 }];
    const { runner, advance, backends: servers } = checked([[message, { form: 'sip-options' }]], { backends });
    runner.start();
    advance(100);
    advance(1000);
    const [first, second] = servers[0]!.wires.map((wire) => wire.text());
    expect(first).toMatch(
      /^OPTIONS sip:\[::1\]:5060 SIP\/2\.0\r\nVia: SIP\/2\.0\/UDP pointsman\.invalid;branch=z9hG4bK[0-9a-f]{16};rport\r\n/,
    );
    expect(first!.endsWith('Content-Length: 0\r\n\r\n')).toBe(true);
    expect(second).not.toBe(first);
  });

  it('is content with a server that lives, and not with one that is unable', () => {
    const options = { form: 'sip-options' };
    expect(ask(options, 'SIP/2.0 200 OK\r\n').news).toEqual([]);
    expect(ask(options, '\r\n\r\nSIP/2.0 405 Method Not Allowed\r\n').news).toEqual([]);
    expect(ask(options, 'SIP/2.0 503 Service Unavailable\r\n').news).toEqual([
      'a fails: message: no answer within 0.5 s, but "SIP/2.0 503 Service Unavailable"',
    ]);
    expect(ask({ ...options, expect: { contains: '503' } }, 'SIP/2.0 503 Service Unavailable\r\n').news).toEqual([]);
  });
});

it('has a ready-made ping in JSON-RPC', () => {
  const { asked, news } = ask(
    { form: 'json-ping' },
    '{"jsonrpc":"2.0","error":{"code":-32601},"id" : "pointsman-check"}\n',
  );
  expect(JSON.parse(asked)).toEqual({ jsonrpc: '2.0', method: 'ping', id: 'pointsman-check' });
  expect(news).toEqual([]);
});
