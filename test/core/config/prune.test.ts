import { Ajv } from 'ajv';
import { Type } from 'pointsman';
import { expect, it } from 'vitest';
import { prune } from '../../../core/config/prune.ts';

const closed = { additionalProperties: false };
const schema = Type.Object(
  {
    pools: Type.Record(Type.String({ pattern: '^[a-z]+$' }), Type.Object({ size: Type.Integer() }), closed),
    limits: Type.Object({ bytes: Type.Integer({ default: 10 }), tag: Type.String() }, { default: {}, required: [] }),
    steps: Type.Array(Type.Object({ send: Type.String(), wait: Type.Integer() }, { ...closed, required: [] })),
    tls: Type.Object({ key: Type.String() }, closed),
  },
  { ...closed, required: [] },
);

it('keeps of what a value does not have the name only', () => {
  const { properties } = prune(schema, { steps: [{ send: 'x' }, 3] }) as typeof schema;
  expect(Object.keys(properties)).toEqual(Object.keys(schema.properties));
  expect(properties.tls).toEqual({});
  expect(properties.pools).toEqual({});
  expect(properties.steps.items.properties).toEqual({ send: { type: 'string' }, wait: {} });
  expect(properties.limits.properties).toEqual({ bytes: schema.properties.limits.properties.bytes, tag: {} });
});

it.each([
  {},
  { pools: { a: { size: 1 }, B: { size: 'x' } }, tls: {} },
  { pools: [], limits: { tag: 1 }, tsl: {} },
  { steps: [{ send: 1 }, { wiat: 1 }, null] },
  [],
  null,
])('finds the same mistakes and fills in the same defaults: %j', (value) => {
  const check = (schema: object) => {
    const copy = structuredClone(value);
    const validator = new Ajv({ allErrors: true, useDefaults: true, strict: true }).compile(schema);
    validator(copy);
    return { copy, errors: validator.errors };
  };
  expect(check(prune(schema, value))).toEqual(check(schema));
});

it('leaves a schema with references whole', () => {
  const referring = Type.Object({ size: { $id: 'size', type: 'integer' }, other: { $ref: 'size' } });
  expect(prune(referring, { other: 1 })).toBe(referring);
});
