/** `pointsman reload`: makes a running balancer read its config again. */
import { type AdminOptions, withAdmin } from './admin-client.ts';
import type { Output } from './output.ts';

export function askReload(options: AdminOptions, output: Output): Promise<number> {
  return withAdmin(options, output, async (client) => {
    const answer = await client.ask<object>('POST', '/v1/reload', {});
    output.stdout.write(options.json ? `${JSON.stringify(answer)}\n` : 'reloaded\n');
  });
}
