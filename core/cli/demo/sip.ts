/** The demo's SIP: calls with INFO requests in them, and some that are given up while the phone rings (RFC 3261). */
import type { BackendAddress, DemoProtocol, Turn } from './protocol.ts';

const crlf = '\r\n';

/** All values of a header field, in order. */
const fields = (message: string, name: string) =>
  Array.from(message.matchAll(new RegExp(`^${name}[ \\t]*:[ \\t]*(.*?)\\r$`, 'gim')), (match) => match[1]!);
const field = (message: string, name: string) => fields(message, name)[0] ?? '';
const methodOf = (request: string) => request.slice(0, request.indexOf(' '));
const bytesOf = (lines: readonly string[]) => Buffer.from(`${lines.join(crlf)}${crlf}${crlf}`);

/** Answers whether a response is a final one (or that status) to a request of that method. */
function responds(method: string, status?: number): NonNullable<Turn['until']> {
  return (answer) => {
    const text = answer.toString('utf8');
    const itsStatus = Number(text.slice(8, 11));
    const isIt = status === undefined ? itsStatus >= 200 : itsStatus === status;
    return isIt && field(text, 'CSeq').endsWith(` ${method}`);
  };
}

/** Whom the client calls where nobody answers. */
const busyUser = 'nobody';

function response(
  request: string,
  status: string,
  { name, port }: BackendAddress,
  cseq = field(request, 'CSeq'),
): Buffer {
  const to = field(request, 'To');
  return bytesOf([
    `SIP/2.0 ${status}`,
    ...fields(request, 'Via').map((via) => `Via: ${via}`),
    ...fields(request, 'Record-Route').map((route) => `Record-Route: ${route}`),
    `From: ${field(request, 'From')}`,
    `To: ${to}${to.includes(';tag=') ? '' : `;tag=${name}`}`,
    `Call-ID: ${field(request, 'Call-ID')}`,
    `CSeq: ${cseq}`,
    `Contact: <sip:${name}@127.0.0.1:${port};transport=tcp>`,
    `Server: ${name}`,
    'Content-Length: 0',
  ]);
}

export const sip: DemoProtocol = {
  name: 'sip',
  port: 5060,
  backends: 'sip',
  numbersBackends: false,
  pipeline: [
    { plugin: 'sip', options: '{}' },
    { plugin: 'hashing', options: '{ key: message }' },
  ],

  lengthOf(bytes) {
    const blank = bytes.indexOf(crlf + crlf);
    if (blank < 0) return 0;
    const end = blank + 4;
    const length = end + Number(field(bytes.toString('latin1', 0, end), 'Content-Length'));
    return length <= bytes.length ? length : 0;
  },
  sessionOf: (message) => field(message.toString('utf8'), 'Call-ID').split('@', 1)[0]!,

  answer(bytes, backend) {
    const request = bytes.toString('utf8');
    const method = methodOf(request);
    if (method === 'ACK' || method === 'SIP/2.0') return [];
    const ok = response(request, '200 OK', backend);
    if (method === 'INVITE') {
      const ringing = response(request, '180 Ringing', backend);
      return request.startsWith(`INVITE sip:${busyUser}@`) ? [ringing] : [ringing, ok];
    }
    if (method !== 'CANCEL') return [ok];
    const inviteCseq = field(request, 'CSeq').replace('CANCEL', 'INVITE');
    return [ok, response(request, '487 Request Terminated', backend, inviteCseq)];
  },
  servedBy: (answer) => field(answer.toString('utf8'), 'Server'),

  *converse(session, number) {
    const isGivenUp = number % 4 === 2;
    const user = isGivenUp ? busyUser : 'bob';
    let cseq = 1;
    let branches = 0;
    const branch = () => `z9hG4bK-${session}-${++branches}`;
    const request = (method: string, uri: string, to: string, routes: readonly string[], itsBranch: string) =>
      bytesOf([
        `${method} ${uri} SIP/2.0`,
        `Via: SIP/2.0/TCP 127.0.0.1;branch=${itsBranch}`,
        'Max-Forwards: 70',
        ...routes.map((route) => `Route: ${route}`),
        `From: <sip:alice@example.com>;tag=${session}`,
        `To: ${to}`,
        `Call-ID: ${session}@client`,
        `CSeq: ${cseq} ${method}`,
        'Contact: <sip:alice@127.0.0.1;transport=tcp>',
        'Content-Length: 0',
      ]);

    const uri = `sip:${user}@example.com`;
    const inviteBranch = branch();
    const invite = request('INVITE', uri, `<${uri}>`, [], inviteBranch);
    if (isGivenUp) {
      yield { bytes: invite, until: responds('INVITE', 180) };
      // The CANCEL and the ACK of an error belong to the INVITE's transaction: they have its branch and no route.
      const cancel = request('CANCEL', uri, `<${uri}>`, [], inviteBranch);
      const terminated = (yield { bytes: cancel, until: responds('INVITE') }).toString('utf8');
      yield { bytes: request('ACK', uri, field(terminated, 'To'), [], inviteBranch) };
      return;
    }

    const ok = (yield { bytes: invite, until: responds('INVITE') }).toString('utf8');
    const routes = fields(ok, 'Record-Route')
      .flatMap((values) => values.split(/,\s*(?=<)/))
      .reverse();
    const target = /<(.*)>/.exec(field(ok, 'Contact'))?.[1] ?? uri;
    const inDialog = (method: string) => request(method, target, field(ok, 'To'), routes, branch());
    yield { bytes: inDialog('ACK') };
    for (let n = 0; n < 2 + (number % 2); n++) {
      cseq++;
      yield { bytes: inDialog('INFO'), until: responds('INFO') };
    }
    cseq++;
    yield { bytes: inDialog('BYE'), until: responds('BYE') };
  },

  tell(bytes) {
    const message = bytes.toString('utf8');
    const [method, uri] = message.split(' ', 2);
    const route = field(message, 'Route');
    const token = /;pm=([^;>]*)/.exec(route)?.[1];
    if (token === undefined) return [`${method} ${uri}`, '', ''];
    return [`${method} Route: <…;pm=`, token, '>'];
  },

  tryIt: (port) => `sipp -sn uac -t t1 -m 1 127.0.0.1:${port}`,
};
