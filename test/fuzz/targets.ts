/** All there is to fuzz. */
import type { Target } from './engine.ts';
import { files } from './files.ts';
import { protocols } from './protocols.ts';

export const targets: readonly Target[] = [...protocols, ...files];
