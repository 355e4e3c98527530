/** The one place where the core imports the plugins that come with it. */
export { builtinPlugins } from '../../plugins/index.ts';
