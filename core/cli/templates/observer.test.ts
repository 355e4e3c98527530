import { test } from 'node:test';
import { conformance } from 'pointsman/conformance';
import plugin from './observer.ts';

conformance({ plugin, test });
