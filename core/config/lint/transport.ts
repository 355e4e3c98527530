/** Checks that a listener has what its transport needs, TLS or the PROXY protocol, and nothing that it has no use for. */
import { isSecure } from '../../runtime/address.ts';
import type { ListenerSettings } from '../../settings.ts';
import type { Draft } from '../build.ts';

export function lintTransport({ findings }: Draft, { name, listen, tls, proxyProtocol }: ListenerSettings): void {
  const path = ['listeners', name];
  if (proxyProtocol !== undefined && (listen.transport === 'udp' || listen.transport === 'unix')) {
    const message = `the PROXY protocol is read on connections over TCP; "listen" is ${listen.transport}`;
    findings.add([...path, 'proxyProtocol'], { rule: 'proxy-protocol', stage: 'lint', message, atKey: true });
  }
  if (isSecure(listen) && tls === undefined) {
    const message = `a ${listen.transport}:// listener needs "tls" with certificate and key`;
    findings.add([...path, 'listen'], { rule: 'tls-missing', stage: 'lint', message });
  }
  if (!isSecure(listen) && tls !== undefined) {
    const secure = listen.transport === 'ws' ? 'wss' : 'tls';
    const message = `"listen" is ${listen.transport}, so that "tls" has no effect; write ${secure}:// there`;
    findings.add([...path, 'tls'], { rule: 'tls-without-effect', stage: 'lint', message, atKey: true });
  }
  if (tls !== undefined && tls.clientCertificate !== 'none' && tls.ca === undefined) {
    const message = 'client certificates need "ca", which says who may sign them';
    findings.add([...path, 'tls', 'clientCertificate'], { rule: 'client-ca-missing', stage: 'lint', message });
  }
}
