import { test } from 'node:test';
import { conformance } from 'pointsman/conformance';
import plugin from './protocol.ts';

conformance({ plugin, test });
