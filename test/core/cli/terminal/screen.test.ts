import { expect, it } from 'vitest';
import { widthOf } from '../../../../core/cli/output.ts';
import { liveScreen, type Size } from '../../../../core/cli/terminal/screen.ts';

it.each([
  [
    { columns: 120, rows: 50 },
    { columns: 120, rows: 50 },
  ],
  [
    { columns: 0, rows: 0 },
    { columns: 80, rows: 24 },
  ],
  [{}, { columns: 80, rows: 24 }],
])('is as large as the terminal, or as terminals are that do not say: %j', (told, size) => {
  const out = { ...told, isTTY: true, write() {}, on() {}, off() {} };
  const drawn: Size[] = [];
  liveScreen(out, false, (given) => {
    drawn.push(given);
    return [];
  }).close();
  expect(drawn).toEqual([size]);
  expect(widthOf(out)).toBe(size.columns);
});

it('bounds no line where there is no terminal', () => {
  expect(widthOf({ write() {}, isTTY: false, columns: 80 })).toBe(Number.POSITIVE_INFINITY);
});
