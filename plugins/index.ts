/** The plugins that come with pointsman, in the order of listings: protocols, strategies, checks, observers. */
import message from './checks/message.ts';
import tcpConnect from './checks/tcp-connect.ts';
import tls from './checks/tls.ts';
import accessLog from './observers/access-log.ts';
import admin from './observers/admin/index.ts';
import metrics from './observers/metrics/index.ts';
import traces from './observers/traces.ts';
import lengthPrefixed from './protocols/length-prefixed/index.ts';
import ndjson from './protocols/ndjson.ts';
import sip from './protocols/sip/index.ts';
import hashing from './strategies/hashing.ts';
import leastLoaded from './strategies/least-loaded.ts';
import roundRobin from './strategies/round-robin.ts';

export const builtinPlugins = [
  ndjson,
  lengthPrefixed,
  sip,
  roundRobin,
  leastLoaded,
  hashing,
  tcpConnect,
  tls,
  message,
  admin,
  metrics,
  accessLog,
  traces,
];
