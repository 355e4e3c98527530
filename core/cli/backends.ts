/** `pointsman backends`: shows the backends of a running balancer. */
import { type AdminOptions, type BackendRow, withAdmin } from './admin-client.ts';
import { backendTable } from './backend-table.ts';
import { type Output, wantsColours, widthOf } from './output.ts';
import { paint } from './terminal/lines.ts';

export function backends(options: AdminOptions, output: Output): Promise<number> {
  return withAdmin(options, output, async (client) => {
    const answer = await client.ask<{ backends: BackendRow[] }>('GET', '/v1/backends');
    const { stdout } = output;
    if (options.json) stdout.write(`${JSON.stringify(answer.backends, undefined, 2)}\n`);
    else {
      const lines = backendTable(answer.backends, widthOf(stdout)).map((line) => paint(line, wantsColours(stdout)));
      for (const line of lines) stdout.write(`${line.trimEnd()}\n`);
    }
  });
}
