/** Output that is kept, for tests of verbs. */
import type { Output, Stream } from '../../../core/cli/output.ts';

class Collected implements Stream {
  text = '';
  readonly isTTY: boolean;

  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }

  write(text: string): void {
    this.text += text;
  }
}

/** Streams that keep what is written to them. */
export function collect({ isTTY = false } = {}): Output & { readonly stdout: Collected; readonly stderr: Collected } {
  return { stdout: new Collected(isTTY), stderr: new Collected(isTTY) };
}
