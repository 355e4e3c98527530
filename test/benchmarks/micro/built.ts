/** The built core, which is what users run: its types are those of the sources. */
import type * as BalancerModule from '../../../core/balancer.ts';
import type * as LoadModule from '../../../core/config/load.ts';
import type * as HooksModule from '../../../core/hooks.ts';
import type * as MemoryModule from '../../../core/memory.ts';
import type * as MessageModule from '../../../core/message.ts';
import type * as NodeModule from '../../../core/runtime/node.ts';
import type * as ScanModule from '../../../core/scan.ts';

const built = (file: string) => import(new URL(`../../../.build/core/${file}`, import.meta.url).href);

export const { Balancer } = (await built('balancer.js')) as typeof BalancerModule;
export const { loadConfig } = (await built('config/load.js')) as typeof LoadModule;
export const { PipelineHooks } = (await built('hooks.js')) as typeof HooksModule;
const memory = (await built('memory.js')) as typeof MemoryModule;
export const { headroomBytes, readMemory } = memory;
/** A piece of memory of at least so many bytes, from where outboxes have theirs. */
export const takeSlab = (bytes: number): MemoryModule.Slab => memory.slabs.take(bytes);
export const { Message } = (await built('message.js')) as typeof MessageModule;
export const { nodeRuntime } = (await built('runtime/node.js')) as typeof NodeModule;
export const { Scan } = (await built('scan.js')) as typeof ScanModule;
