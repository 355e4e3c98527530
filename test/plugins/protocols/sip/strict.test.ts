/** Strict routers before and behind us (RFC 3261 section 16.4, and section 16.6, step 6). */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Rig } from '../../../support/embedded.ts';
import { arrival, arrivals, callerRoutes, parseOne, request, respond, sipRig, values } from './ua.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await sipRig();
});

/** The URIs of our two routes in a call at `name`, in the order in which its caller sends them. */
function established() {
  const alice = rig.client();
  alice.send(request('INVITE'));
  const { name, message } = arrival(rig);
  rig.backend(name).link.send(respond(message, '200 OK', 'bob1'));
  const [first, second] = callerRoutes(parseOne(alice.text())).map((line) => /<(.*)>/.exec(line)![1]!);
  return { name, first: first!, second: second! };
}

/** What the backend gets of a BYE, whose Call-ID tells nothing: its Request-URI and routes. */
function passedOn(uri: string, routeLines: readonly string[]) {
  const extra = routeLines.map((line) => (/^\w+ *:/.test(line) ? line : `Route: ${line}`));
  rig.client().send(request('BYE', { uri, toTag: 'bob1', callId: 'unheard-of', extra }));
  const { name, message } = arrival(rig);
  return { name, uri: message.startLine.split(' ')[1], routes: values(message, 'Route'), message };
}

const target = 'sip:bob@192.0.2.99;transport=tcp';
const loose = '<sip:p1.example.net;lr>';

describe('behind a strict router', () => {
  it.each([
    ['the target alone', (second: string) => [`<${second}>`, `<${target}>`], []],
    ['all in one line', (second: string) => [`<${second}>, <${target}>`], []],
    ['other routes', (second: string) => [`<${second}>`, loose, `<${target}>`], [loose]],
    ['other routes in the line of the target', (second: string) => [`<${second}>`, `${loose} ,<${target}>`], [loose]],
    ['folds and odd spelling', (second: string) => [`ROUTE : <${second}>,\r\n ${loose},\r\n\t<${target}>`], [loose]],
    ['no second route of ours', () => [loose, `"Bob" <${target}>;x=y`], [loose]],
  ])('the Request-URI comes from the last Route, and our own is obeyed: %s', (_what, routes, left) => {
    const { name, first, second } = established();
    const got = passedOn(first, routes(second));
    expect(got).toMatchObject({ name, uri: target, routes: left });
    expect(rig.stats().routes.identifier).toBe(2);
  });

  it('the routes of a call that passes us twice are taken out two by two', () => {
    const { name, first, second } = established();
    const got = passedOn(first, [`<${second}>`, `<${first}>`, `<${second}>`, `<${target}>`]);
    expect(got).toMatchObject({ name, uri: target, routes: [`<${first}>`, `<${second}>`] });
  });

  it('and before another, which finds itself in the Request-URI, and the target at the end', () => {
    const { name, first, second } = established();
    const got = passedOn(first, [`<${second}>`, '<sip:old.example.net>', loose, `<${target}>`]);
    expect(got).toMatchObject({ name, uri: 'sip:old.example.net', routes: [loose, `<${target}>`] });
  });

  it('a forged route of ours in the Request-URI is refused', () => {
    const { first } = established();
    const client = rig.client();
    const forged = first.replace(/pm=\w{4}/, 'pm=ceaa');
    client.send(request('BYE', { uri: forged, toTag: 'bob1', extra: [`Route: <${target}>`] }));
    expect(arrivals(rig)).toEqual([]);
    expect(parseOne(client.text()).startLine).toMatch(/ 403 /);
  });

  it.each([
    ['a Request-URI of another', (_first: string) => 'sip:bob@example.net;pm=ceaa'],
    ['our address without a token', (_first: string) => 'sip:192.0.2.1:5060'],
    ['a parameter that only looks alike', (first: string) => `sip:bob@example.net;x=1;pn=${first.length}`],
  ])('is nobody who sends %s', (_what, uriOf) => {
    const uri = uriOf(established().first);
    expect(passedOn(uri, [loose])).toMatchObject({ uri, routes: [loose] });
  });

  it.each([
    ['a last route without its bracket', `<${target}`],
    ['an empty value', `${loose}, , <${target}>`],
    ['bytes that no Request-URI has', '<sip:bob\x7f@192.0.2.99>'],
  ])('routes that are malformed are refused: %s', (_what, route) => {
    const { first } = established();
    const client = rig.client();
    client.send(request('BYE', { uri: first, toTag: 'bob1', extra: [`Route: ${route}`] }));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 400 Bad Route');
  });
});

describe('before a strict router', () => {
  const strict = 'sip:old.example.net;transport=tcp';

  it('it finds itself in the Request-URI, and the Request-URI in the last Route', () => {
    const { name, first, second } = established();
    const got = passedOn(target, [`<${first}>,<${second}>`, `<${strict}>`, loose]);
    expect(got).toMatchObject({ name, uri: strict, routes: [loose, `<${target}>`] });
  });

  it('also if there is no other route', () => {
    expect(passedOn(target, [`<${strict}>`])).toMatchObject({ uri: strict, routes: [`<${target}>`] });
  });

  it('all else leaves as it came', () => {
    const { message } = passedOn(target, [`<${strict}>`]);
    expect(message.headers.map(([name]) => name).join()).toBe(
      'Via,Record-Route,Record-Route,Via,Max-Forwards,From,To,Call-ID,CSeq,Route,Content-Length',
    );
  });

  it('a retransmission leaves as the first did', () => {
    const client = rig.client();
    const bye = request('BYE', { uri: target, toTag: 'bob1', extra: [`Route: <${strict}>`, `Route: ${loose}`] });
    client.send(bye);
    const first = arrivals(rig);
    client.send(bye);
    expect(arrivals(rig)).toEqual(first);
  });

  it('a route of a scheme that knows no loose routing stays where it is', () => {
    expect(passedOn(target, ['<tel:+4930123456>'])).toMatchObject({ uri: target, routes: ['<tel:+4930123456>'] });
  });
});
