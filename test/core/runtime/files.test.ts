import { expect, it } from 'vitest';
import { filesForClients } from '../../../core/runtime/files.ts';

it.each([
  ['Max processes 1 1 processes\nMax open files            64                   64                   files', 48],
  ['Max open files            1024                 524288               files', 960],
  ['Max open files            1000000              1000000              files', 998_976],
  ['Max open files            unlimited            unlimited            files', Number.POSITIVE_INFINITY],
  ['', Number.POSITIVE_INFINITY],
])('some files are left when clients have theirs: %#', (limits, clients) => {
  expect(filesForClients(limits)).toBe(clients);
});
