/** Settings of TLS as Node.js takes them, for listeners and for links. */
import net from 'node:net';
import tls from 'node:tls';
import type { LinkTlsSettings, ListenerTlsSettings } from '../settings.ts';
import type { Address } from './address.ts';

/** How long a client may take for its TLS handshake, or for asking for a WebSocket. */
export const handshakeMs = 10_000;

export function serverTls(settings: ListenerTlsSettings): tls.TlsOptions {
  return {
    cert: settings.certificate,
    key: settings.key,
    ...(settings.ca === undefined ? {} : { ca: settings.ca }),
    requestCert: settings.clientCertificate !== 'none',
    rejectUnauthorized: settings.clientCertificate === 'required',
    minVersion: 'TLSv1.2',
    handshakeTimeout: handshakeMs,
  };
}

/** `allowHalfOpen` is documented for TLS too, but missing from the types. */
type ClientTlsOptions = tls.ConnectionOptions & { allowHalfOpen: boolean };

export function clientTls(address: Address, settings: LinkTlsSettings | undefined): ClientTlsOptions {
  const serverName = settings?.serverName ?? (net.isIP(address.host) === 0 ? address.host : undefined);
  return {
    allowHalfOpen: true,
    minVersion: 'TLSv1.2',
    rejectUnauthorized: settings?.verify ?? true,
    ...(serverName === undefined
      ? {}
      : {
          servername: serverName,
          checkServerIdentity: (_host, certificate) => tls.checkServerIdentity(serverName, certificate),
        }),
    ...(settings?.ca === undefined ? {} : { ca: settings.ca }),
    ...(settings?.certificate === undefined ? {} : { cert: settings.certificate, key: settings.key }),
  };
}
