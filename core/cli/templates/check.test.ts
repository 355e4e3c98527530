import { test } from 'node:test';
import { conformance } from 'pointsman/conformance';
import plugin from './check.ts';

conformance({ plugin, test });
