/**
 * The admin API: what the balancer is made of and how it does, who is connected, where messages go and why; and what operators
 * change while it runs. The command line (`pointsman top`, `drain`, `tail`, …) and the dashboard have no other source.
 *
 * Two halves: in every pipeline `decisions.ts` says what became of messages, while somebody listens; beside the balancer
 * `server.ts` answers requests. What that needs is loaded when it starts, not with the plugin.
 */
import { definePlugin, Type } from 'pointsman';
import { checkAccess } from './access.ts';
import { tapDecisions } from './decisions.ts';

export default definePlugin({
  name: 'admin',
  summary: 'Offers an HTTP API, and a dashboard on it, to see what the balancer does and to change it while it runs.',
  pointsman: '^1',
  options: Type.Object(
    {
      listen: Type.String({
        default: 'tcp://127.0.0.1:9901',
        description:
          'Where it is offered: tcp://host:port or unix:/path. An address that others can reach needs `token` or `tls.ca`.',
      }),
      token: Type.Optional(
        Type.String({
          minLength: 16,
          pattern: '^[!-~]([ -~]*[!-~])?$',
          writeOnly: true,
          description:
            'What clients must send, as `Authorization: Bearer …`: printable ASCII, which is all that headers carry. Write ${env:NAME} or ${file:PATH}.',
        }),
      ),
      tls: Type.Optional(
        Type.Object(
          {
            certificate: Type.String({ description: 'Its certificate in PEM, with the chain: ${file:admin.pem}.' }),
            key: Type.String({ writeOnly: true, description: 'The key of that: ${file:admin.key}.' }),
            ca: Type.Optional(
              Type.String({
                description:
                  'Who may sign the certificates of clients: ${file:operators.pem}. Then they must have one.',
              }),
            ),
          },
          { additionalProperties: false, description: 'Offers it over HTTPS.' },
        ),
      ),
      hosts: Type.Array(Type.String({ minLength: 1 }), {
        default: [],
        description:
          'By which names clients may call it, besides localhost and IP addresses: others are refused, lest pages of theirs reach it.',
      }),
      dashboard: Type.Boolean({ default: true, description: 'Offers the dashboard too, at /.' }),
      decisionsPerSecond: Type.Integer({
        minimum: 1,
        maximum: 10_000,
        default: 200,
        description: 'How many decisions each listener of each process tells at most; the others are only counted.',
      }),
    },
    { additionalProperties: false },
  ),

  apply(hooks, { decisionsPerSecond }, scope) {
    tapDecisions(hooks, scope, decisionsPerSecond);
  },

  observe(balancer, options, scope) {
    checkAccess(options);
    let close = async () => {};
    scope.onStart(async () => {
      const { open } = await import('./server.ts');
      close = await open(options, balancer, scope);
    });
    scope.onStop(() => close());
  },
});
