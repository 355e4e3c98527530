import { expect, it, vi } from 'vitest';
import { playExample } from './run.ts';

// The core has no known way to lose count, so the check is told that it has.
vi.mock('../../../core/accounting.ts', async (original) => ({ ...(await original<object>()), balances: () => false }));

it('a test fails if the accounting does not balance at its end', async () => {
  const { result, report } = await playExample({ steps: '{ send: { text: "hi\\n" }, expect: { backend: a } }' });
  expect(result.failedStep).toBe(undefined);
  expect(report).toMatch(
    /^✗ it\n {4}edge\.yaml:11:3 {2}accounting\n {6}expected {2}received = forwarded \+ refused \+ discarded \+ held, in each direction\n {6}got {7}\{"fromClients":\{"received":1,.*"queued":0\}\n\n1 test: 1 failed\n$/,
  );
});
