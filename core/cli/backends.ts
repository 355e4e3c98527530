/** `pointsman backends`: how the backends of a balancer that runs are. */
import { type AdminOptions, type BackendRow, withAdmin } from './admin-client.ts';
import { backendTable } from './backend-table.ts';
import { type Output, wantsColours } from './output.ts';
import { styleWith } from './report/style.ts';

export function backends(options: AdminOptions, output: Output): Promise<number> {
  return withAdmin(options, output, async (client) => {
    const answer = await client.ask<{ backends: BackendRow[] }>('GET', '/v1/backends');
    const { stdout } = output;
    if (options.json) stdout.write(`${JSON.stringify(answer.backends, undefined, 2)}\n`);
    else stdout.write(`${backendTable(answer.backends, styleWith(wantsColours(stdout))).join('\n')}\n`);
  });
}
