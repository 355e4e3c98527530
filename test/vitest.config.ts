import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import './examples/sip-edge/make.ts';

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  resolve: {
    alias: {
      'pointsman/conformance': fileURLToPath(new URL('../core/conformance/suite.ts', import.meta.url)),
      pointsman: fileURLToPath(new URL('../core/index.ts', import.meta.url)),
    },
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
  },
});
