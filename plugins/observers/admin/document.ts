/** The API as an OpenAPI 3.1 document. */
import { type Operation, operations, problem } from './operations.ts';

export function openApiDocument(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const [id, operation] of Object.entries(operations) as [string, Operation][]) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: describe(id, operation) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'pointsman admin API',
      version: version === '' ? '0' : version,
      description:
        'What the balancer does, and what can be changed while it runs. Writes are sent as application/json.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ token: [] }, { certificate: [] }, { token: [], certificate: [] }, {}],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'If the option `token` is set.' },
        certificate: { type: 'mutualTLS', description: 'If the option `tls.ca` is set.' },
      },
      schemas: { Problem: problem },
    },
  };
}

function describe(operationId: string, operation: Operation): object {
  const { summary, parameters, query, body, answer, answerType = 'application/json', isOpen = false } = operation;
  return {
    operationId,
    summary,
    ...(isOpen && { security: [] }),
    parameters: [...places('path', parameters), ...places('query', query)],
    ...(body !== undefined && { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
    responses: {
      200: { description: 'It has been done.', content: { [answerType]: { schema: answer } } },
      default: {
        description: 'It has not.',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  };
}

function places(place: 'path' | 'query', schema: Operation['query']): object[] {
  const members = Object.entries(
    (schema?.properties ?? {}) as Record<string, { description?: string; default?: unknown }>,
  );
  const required = (schema?.required ?? []) as readonly string[];
  return members.map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    required: place === 'path' || (required.includes(name) && rest.default === undefined),
    ...(description !== undefined && { description }),
    schema: rest,
  }));
}
