/** The one place where the core meets the plugins that come with it. */
export { builtinPlugins } from '../../plugins/index.ts';
