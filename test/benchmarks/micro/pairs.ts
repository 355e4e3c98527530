/** Whole pairs of request and answer, through the pipeline and by direct calls; what is user code's shows here alone. */
import { clientDigits, type Protocol, readDigits } from '../dialects.ts';
import { aligned } from '../report.ts';
import { judge, targetTable } from '../targets.ts';
import { type Cost, cpuOf } from './cpu.ts';
import { Direct } from './direct.ts';
import { echo, Pipe, Rig, read } from './rig.ts';

/** What they get all at once must fit into one read. */
export const clients = 6;
export const window = 16;

export async function measurePairs(protocol: Protocol): Promise<void> {
  const rig = await Rig.start(protocol, { clients, window });
  const direct = new Direct(rig);
  const answered = (exchange: () => void) => {
    exchange();
    return rig.callers.map(({ socket }) => socket.take());
  };
  const throughPipeline = () => rig.exchange();
  const byDirectCalls = () => direct.exchange();
  const expected = answerBytes(rig, () => answered(throughPipeline));
  const actual = answerBytes(rig, () => answered(byDirectCalls));
  if (actual !== expected) throw new Error(`the answers have ${expected} bytes, those by direct calls ${actual}`);

  const peers = peersOf(rig);
  const count = clients * window;
  const [pipeline, calls, rest] = cpuOf([
    { count, body: () => void answered(throughPipeline) },
    { count, body: () => void answered(byDirectCalls) },
    { count, body: peers },
  ]) as [Cost, Cost, Cost];
  checkAccounts(rig);

  const alone = (cost: Cost) => cost.leastNanoseconds - rest.leastNanoseconds;
  const row = (name: string, cost: Cost) => [
    name,
    cost.leastNanoseconds.toFixed(0),
    cost.medianNanoseconds.toFixed(0),
    cost === rest ? '' : alone(cost).toFixed(0),
  ];
  const rows = [
    [`${protocol}: CPU ns/pair`, 'least', 'median', 'without the peers'],
    row('through the pipeline', pipeline),
    row('by direct calls', calls),
    row('peers that are made up, in both', rest),
  ];
  const value = alone(pipeline) / alone(calls);
  const verdicts = judge([{ figure: 'cpuToDirectCalls', protocol, value }]);
  console.log(aligned(rows) + targetTable(verdicts));
}

/** What the peers that are made up do for all that they send and answer once. */
export function peersOf({ callers, dialect }: Rig): () => void {
  const pipe = new Pipe();
  return () => {
    for (const { batch } of callers) {
      const requests = batch.next();
      read(requests);
      pipe.write(requests);
    }
    const answers = pipe.take();
    echo(dialect, answers);
    read(answers);
  };
}

/** Rounds after which each request has been once without identifier. */
const roundsOfDialog = 5;

/** How many bytes the answers of some rounds have, all of which must reach the client that asked. */
function answerBytes({ dialect }: Rig, exchange: () => Buffer[]): number {
  let bytes = 0;
  for (let round = 0; round < roundsOfDialog; round++) {
    for (const [number, answers] of exchange().entries()) {
      let count = 0;
      for (let at = 0, end = dialect.endOf(answers, 0); end > 0; at = end, end = dialect.endOf(answers, at)) {
        count++;
        const client = readDigits(answers, end - dialect.labelFromEnd, clientDigits);
        if (client !== number || end <= at) throw new Error(`client ${number} got an answer for ${client}`);
      }
      if (count !== window) throw new Error(`client ${number} got ${count} answers to ${window} requests`);
      bytes += answers.length;
    }
  }
  return bytes;
}

export function checkAccounts({ listener }: Rig): void {
  const { fromClients, fromBackends } = listener.stats();
  if (fromClients.received !== fromClients.forwarded || fromClients.received !== fromBackends.forwarded) {
    throw new Error(`not every message was forwarded: ${JSON.stringify({ fromClients, fromBackends })}`);
  }
}
