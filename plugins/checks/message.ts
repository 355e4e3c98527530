/** Sends a message to a backend and looks at the answer. Two messages are ready made: SIP's OPTIONS, and a ping in JSON-RPC. */
import { type Attempt, type CheckScope, definePlugin, type Static, Type } from 'pointsman';

const text = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));

const options = Type.Object(
  {
    form: Type.Optional(
      Type.Enum(['sip-options', 'json-ping'], {
        description:
          'A message that is ready made, with what it expects: `sip-options` a SIP response of class 2, 3 or 4 (the server lives, ' +
          'though it may not know the method), `json-ping` a line of JSON-RPC that repeats the id.',
      }),
    ),
    send: Type.Optional(
      Type.Object(
        {
          text: text('The bytes as text, in UTF-8.'),
          hex: text('The bytes in hexadecimal; white space is ignored.'),
          base64: text('The bytes in base64.'),
        },
        { additionalProperties: false, description: 'The message, written in one of three ways.' },
      ),
    ),
    expect: Type.Optional(
      Type.Object(
        {
          contains: text('A text that the answer contains, in UTF-8.'),
          pattern: text('A regular expression that matches in the answer, read as Latin-1.'),
          bytes: text('What the answer begins with, as text in UTF-8.'),
          hex: text('What the answer begins with, in hexadecimal; white space is ignored.'),
        },
        {
          additionalProperties: false,
          description: 'What the answer must be, in one of four ways. Default: that of the form, or any answer.',
        },
      ),
    ),
  },
  { additionalProperties: false },
);

type Options = Static<typeof options>;

export default definePlugin({
  name: 'message',
  summary: 'Checks that a backend answers a message as expected.',
  pointsman: '^1',
  options,

  check({ form, send, expect }, scope) {
    const message = messageOf(form, send, scope);
    const judge = judgeOf(form, expect);
    return {
      onOpen: (attempt) => attempt.send(message(attempt)),
      onBytes(attempt, received) {
        const verdict = judge(received);
        if (verdict === true) attempt.pass();
        else if (verdict === false) attempt.fail('not the answer that is expected');
      },
    };
  },
});

/** How the message is made, anew for each attempt. */
function messageOf(form: Options['form'], send: Options['send'], scope: CheckScope): (attempt: Attempt) => Uint8Array {
  if (send === undefined) {
    if (form === undefined) throw new Error('there is nothing to send: it needs "send" or "form"');
    return form === 'json-ping' ? () => jsonPing : (attempt) => sipOptions(attempt, scope);
  }
  if (form !== undefined) throw new Error('send: the form has a message already');
  const bytes = bytesOf('send', send);
  return () => bytes;
}

/** Whether the answer is right, or wrong; undefined: more must come. */
function judgeOf(form: Options['form'], expect: Options['expect']): (received: Buffer) => boolean | undefined {
  const { contains, pattern, ...beginning } = expect ?? expected(form);
  const given = [contains, pattern, ...Object.values(beginning)].filter((value) => value !== undefined);
  if (given.length > 1) throw new Error('expect: one of contains, pattern, bytes and hex is enough');
  if (contains !== undefined) return (received) => received.includes(contains) || undefined;
  if (pattern !== undefined) {
    const expression = patternOf(pattern);
    return (received) => expression.test(received.toString('latin1')) || undefined;
  }
  if (given.length === 0) return () => true;
  const bytes = bytesOf('expect', { text: beginning.bytes, hex: beginning.hex });
  return (received) => {
    const common = Math.min(received.length, bytes.length);
    if (received.compare(bytes, 0, common, 0, common) !== 0) return false;
    return received.length >= bytes.length || undefined;
  };
}

function patternOf(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (error) {
    throw new Error(`expect.pattern: ${(error as Error).message}`);
  }
}

/** RFC 4648 section 4, with the padding or without. */
const base64Form = /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?$/;

/** @param option whose value this is, for the errors */
function bytesOf(
  option: string,
  ways: { text?: string | undefined; hex?: string | undefined; base64?: string | undefined },
): Buffer {
  const { text, hex, base64 } = ways;
  if ([text, hex, base64].filter((way) => way !== undefined).length !== 1) {
    throw new Error(`${option}: the bytes are written in one way, not in none or several`);
  }
  if (text !== undefined) return Buffer.from(text);
  if (base64 !== undefined) {
    if (!base64Form.test(base64.replaceAll(/\s/g, ''))) throw new Error(`${option}.base64: this is not base64`);
    return Buffer.from(base64, 'base64');
  }
  const digits = hex!.replaceAll(/\s/g, '');
  if (!/^([0-9A-Fa-f]{2})+$/.test(digits)) throw new Error(`${option}.hex: bytes are pairs of hexadecimal digits`);
  return Buffer.from(digits, 'hex');
}

function expected(form: Options['form']): NonNullable<Options['expect']> {
  if (form === 'sip-options') return { pattern: '(^|\\n)SIP/2\\.0 [234]\\d\\d ' };
  return form === 'json-ping' ? { pattern: '"id"\\s*:\\s*"pointsman-check"' } : {};
}

const jsonPing = Buffer.from('{"jsonrpc":"2.0","method":"ping","id":"pointsman-check"}\n');

/** An OPTIONS that asks the server itself (RFC 3261 section 11); the answer comes back the way the request went (RFC 3581). */
function sipOptions({ backend: { address } }: Attempt, { clock }: CheckScope): Buffer {
  const id = clock.randomBytes(8).toString('hex');
  const transport = { udp: 'UDP', tls: 'TLS' }[address.transport as string] ?? 'TCP';
  const host = address.host.includes(':') ? `[${address.host}]` : address.host || 'localhost';
  return Buffer.from(
    [
      `OPTIONS sip:${host}${address.port === 0 ? '' : `:${address.port}`} SIP/2.0`,
      `Via: SIP/2.0/${transport} pointsman.invalid;branch=z9hG4bK${id};rport`,
      'Max-Forwards: 70',
      `From: <sip:check@pointsman.invalid>;tag=${id}`,
      `To: <sip:${host}>`,
      `Call-ID: ${id}@pointsman.invalid`,
      'CSeq: 1 OPTIONS',
      'Contact: <sip:check@pointsman.invalid>',
      'Accept: application/sdp',
      'Content-Length: 0',
      '\r\n',
    ].join('\r\n'),
  );
}
