/**
 * Step by step, with mitata: what a message has cost when it has passed each hook, through the hooks and their guards. A step
 * contains those before it, since plugins keep what they parsed in `frame` until `insertId`. And the hooks by themselves.
 */
import { bench, do_not_optimize, group, run } from 'mitata';
import type { Client } from '../../../core/client.ts';
import type { Link } from '../../../core/link.ts';
import { Form, type Protocol } from '../dialects.ts';
import { Message, PipelineHooks, Scan, takeSlab } from './built.ts';
import { type Caller, deliver, Rig } from './rig.ts';

export async function measureSteps(protocol: Protocol): Promise<void> {
  const rig = await Rig.start(protocol, { clients: 1, window: 1 });
  const { dialect, wires, links } = rig;
  const [{ client, socket, batch }] = rig.callers as [Caller];
  const fresh = new Form(dialect.pieces(0).fresh, dialect.placeholder).bytes;
  const named = Buffer.from(batch.next());

  // The answer to a request that stays outstanding, so that it can come over and over.
  deliver(socket.handler, named);
  wires.endTurn();
  const answers = wires.links.map((link) => Buffer.from(link.take()));
  const answered = answers.findIndex((bytes) => bytes.length > 0);
  const answer = answers[answered]!;
  dialect.answer(answer, 0);

  group(`${protocol}: request without identifier`, () => stepsOf(rig, client, client, fresh));
  group(`${protocol}: request with identifier`, () => stepsOf(rig, client, client, named));
  group(`${protocol}: answer`, () => stepsOf(rig, links[answered]!, client, answer));
  await run({ colors: process.stdout.isTTY === true });
}

function stepsOf({ listener, scope, taps, links }: Rig, source: Client | Link, client: Client, bytes: Buffer): void {
  const { hooks, exchanges } = listener.composed;
  const { pool, identifiers } = scope;
  const sender = 'backend' in source ? source.backend : undefined;
  const side = sender === undefined ? 'client' : 'backend';
  const scan = new Scan(side, source, scope.listener.limits);
  const message = new Message();
  const target = takeSlab(2 * bytes.length + 1024);
  message.open(bytes, 0, bytes.length, side, source);
  hooks.frame.call(bytes, 0, bytes.length, scan);
  const isNamed = Boolean(hooks.detectId.call(message)); // 0: nobody

  const frame = () => hooks.frame.call(bytes, 0, bytes.length, scan);
  const detectId = () => {
    frame();
    message.open(bytes, 0, bytes.length, side, source);
    message.client = client;
    message.backend = sender;
    message.destination = sender === undefined ? pool.backends[0] : client;
    const detected = hooks.detectId.call(message);
    if (typeof detected !== 'object') return;
    if ('offset' in detected) Object.assign(message.identifier, detected);
    else if ('original' in detected) message.exchange = detected;
  };
  const chooseBackend = () => {
    detectId();
    if (!isNamed) message.backend = hooks.chooseBackend.call(message, pool);
    else message.backend ??= pool.backends[0];
  };
  const insertId = () => {
    chooseBackend();
    hooks.insertId.call(message, identifiers.ofBackend(message.backend!));
    if (side === 'client' && message.exchange !== undefined) exchanges!.close(message.exchange);
  };
  const forward = () => {
    insertId();
    hooks.forward.call(message, side === 'client' ? links[0]! : client);
  };
  const copy = () => {
    forward();
    return message.copyTo(target, 0);
  };

  const direct = taps.frame[0]!;
  bench('frame, called without its hook', () => do_not_optimize(direct(bytes, 0, bytes.length, scan)));
  bench('frame', () => do_not_optimize(frame()));
  bench('… detectId', detectId);
  if (!isNamed) bench('… chooseBackend', chooseBackend);
  bench('… insertId', insertId);
  if (hooks.isTapped('forward')) bench('… forward', forward);
  bench('… copied to its chunk', () => do_not_optimize(copy()));
}

/** What it costs that a plugin is called through a hook and its guard, five times for each message. */
export async function measureHooks(): Promise<void> {
  const scan = new Scan('client', undefined as never, {} as never);
  const bytes = Buffer.alloc(64);
  const message = new Message();
  message.end = bytes.length;
  const hooks = new PipelineHooks();
  const view = hooks.forPlugin('micro');
  const frame = (_bytes: Buffer, start: number, end: number) => end - start;
  const detectId = (it: InstanceType<typeof Message>) => it.span(4, 2);
  const nothing = () => undefined;
  view.frame.tap('micro', frame);
  view.detectId.tap('micro', detectId);
  view.chooseBackend.tap('micro', nothing);
  view.insertId.tap('micro', nothing);
  view.forward.tap('micro', nothing);
  group('five taps that do nothing', () => {
    bench('called directly', () => {
      do_not_optimize(frame(bytes, 0, bytes.length));
      do_not_optimize(detectId(message));
      for (let i = 0; i < 3; i++) do_not_optimize(nothing());
    });
    bench('each through its hook and its guard', () => {
      do_not_optimize(hooks.frame.call(bytes, 0, bytes.length, scan));
      do_not_optimize(hooks.detectId.call(message));
      do_not_optimize(hooks.chooseBackend.call(message, undefined as never));
      do_not_optimize(hooks.insertId.call(message, undefined));
      do_not_optimize(hooks.forward.call(message, undefined as never));
    });
  });
  await run({ colors: process.stdout.isTTY === true });
}
