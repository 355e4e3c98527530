/** Without its transports, which are threads with files of their own. */
export { pino, symbols } from 'pino';
