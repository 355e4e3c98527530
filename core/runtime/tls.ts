/** Settings of TLS as Node.js takes them, for listeners and for links. */
import net from 'node:net';
import tls from 'node:tls';
import type { LinkTlsSettings, ListenerTlsSettings } from '../settings.ts';
import type { Address } from './address.ts';
import type { ClientCertificate } from './runtime.ts';

/** How long a client may take for its TLS handshake, or for asking for a WebSocket. */
export const handshakeMs = 10_000;

export function serverTls(settings: ListenerTlsSettings): tls.TlsOptions {
  return {
    cert: settings.certificate,
    key: settings.key,
    ...(settings.ca === undefined ? {} : { ca: settings.ca }),
    requestCert: settings.clientCertificate !== 'none',
    rejectUnauthorized: settings.clientCertificate === 'required',
    minVersion: settings.minVersion ?? 'TLSv1.2',
    handshakeTimeout: handshakeMs,
  };
}

/** What a client has shown, if it is one of TLS and has shown a certificate that verifies. */
export function certificateOf(stream: net.Socket): ClientCertificate | undefined {
  if (!(stream instanceof tls.TLSSocket) || !stream.authorized) return undefined;
  const { subject, subjectaltname = '', fingerprint256 } = stream.getPeerCertificate();
  return { commonName: String(subject?.CN ?? ''), subjectAltName: subjectaltname, fingerprint: fingerprint256 };
}

/** `allowHalfOpen` is documented for TLS too, but missing from the types. */
type ClientTlsOptions = tls.ConnectionOptions & { allowHalfOpen: boolean };

export function clientTls(address: Address, settings: LinkTlsSettings | undefined): ClientTlsOptions {
  const serverName = settings?.serverName ?? (net.isIP(address.host) === 0 ? address.host : undefined);
  return {
    allowHalfOpen: true,
    minVersion: settings?.minVersion ?? 'TLSv1.2',
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
