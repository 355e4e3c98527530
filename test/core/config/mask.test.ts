import { expect, it } from 'vitest';
import { maskConfig } from '../../../core/config/mask.ts';
import { builtinPlugins } from '../../../plugins/index.ts';

it('secrets that stand in a config are masked, references to them stay, and its tests are left out', () => {
  const keys = [
    { id: 'k1', secret: 'in the clear, alas' },
    { id: 'k2', secret: '${env:KEY}' },
    { id: 'k3', secret: 'half ${env:KEY}' },
  ];
  const pools = { calls: { backends: { a: 'tcp://127.0.0.1:1' } } };
  const pipeline = [{ acme: { apiToken: 'abc', depth: { password: 'def', name: 'x' } } }];
  const written = { keys, pools, listeners: { edge: { pipeline } }, tests: [{}], testEnv: { KEY: 'secret' } };
  expect(maskConfig(written, builtinPlugins)).toEqual({
    keys: [
      { id: 'k1', secret: '***' },
      { id: 'k2', secret: '${env:KEY}' },
      { id: 'k3', secret: '***' },
    ],
    pools,
    listeners: { edge: { pipeline: [{ acme: { apiToken: '***', depth: { password: '***', name: 'x' } } }] } },
  });
});
