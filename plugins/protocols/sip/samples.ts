/** Example messages of one call and what belongs to it, as its client sends them. */
import type { Sample } from 'pointsman';

const sample = (name: string, lines: readonly string[], body = ''): Sample => ({
  name,
  bytes: Buffer.from([...lines, `Content-Length: ${body.length}`, '', body].join('\r\n'), 'latin1'),
  echo: nextInDialog,
});

/** The client's next request goes along the route that our Record-Route fields have recorded, the last of them first. */
function nextInDialog(forwarded: Buffer): Buffer {
  const recorded = [...forwarded.toString('latin1').matchAll(/^Record-Route: (.*)\r$/gm)].map(([, route]) => route!);
  const lines = [
    'BYE sip:bob@192.0.2.99 SIP/2.0',
    via('8k1c'),
    ...recorded.reverse().map((route) => `Route: ${route}`),
    'Max-Forwards: 70',
    from,
    `${to};tag=b8`,
    callId,
    'CSeq: 8 BYE',
    'Content-Length: 0',
    '',
    '',
  ];
  return Buffer.from(lines.join('\r\n'), 'latin1');
}

const via = (branch: string) => `Via: SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bK${branch};rport`;
const from = 'From: "Alice" <sip:alice@example.org>;tag=a73k';
const to = 'To: <sip:bob@example.net>';
const callId = 'Call-ID: 3848276298220188511@192.0.2.10';
const contact = 'Contact: <sip:alice@192.0.2.10:5060;transport=tcp>';
const offer = [
  'v=0',
  'o=alice 1 1 IN IP4 192.0.2.10',
  's=-',
  'c=IN IP4 192.0.2.10',
  't=0 0',
  'm=audio 49172 RTP/AVP 0',
  '',
].join('\r\n');

export const samples: readonly Sample[] = [
  sample(
    'a call',
    [
      'INVITE sip:bob@example.net SIP/2.0',
      via('74bf9'),
      'Max-Forwards: 70',
      from,
      to,
      callId,
      'CSeq: 1 INVITE',
      contact,
      'Content-Type: application/sdp',
    ],
    offer,
  ),
  sample('its cancellation', [
    'CANCEL sip:bob@example.net SIP/2.0',
    via('74bf9'),
    'Max-Forwards: 70',
    from,
    to,
    callId,
    'CSeq: 1 CANCEL',
  ]),
  sample('a registration', [
    'REGISTER sip:example.net SIP/2.0',
    via('9hd5s'),
    'Max-Forwards: 70',
    from,
    'To: "Alice" <sip:alice@example.org>',
    callId,
    'CSeq: 2 REGISTER',
    contact,
  ]),
  sample('a question with compact and folded fields', [
    'OPTIONS sip:bob@example.net SIP/2.0',
    'v: SIP/2.0/TCP 192.0.2.10',
    ' ;branch=z9hG4bKp1',
    'f: <sip:alice@example.org>;tag=b91q',
    't: <sip:bob@example.net>',
    'i: 88-options',
    'CSeq: 7',
    '\tOPTIONS',
  ]),
];
