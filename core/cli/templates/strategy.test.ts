import { test } from 'node:test';
import { conformance } from 'pointsman/conformance';
import plugin from './strategy.ts';

conformance({ plugin, test });
