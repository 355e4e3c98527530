/** Certificates for tests of TLS, made when needed. */
import { generate } from 'selfsigned';

export interface Certificate {
  certificate: string;
  key: string;
}

/**
 * A self-signed certificate for a host name; it can serve as its own authority.
 * @param valid days, such as 2020-01-01. Undefined: a year from now
 */
export async function makeCertificate(host: string, valid?: { from: string; to: string }): Promise<Certificate> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: host }], {
    keyType: 'ec',
    ...(valid && { notBeforeDate: new Date(valid.from), notAfterDate: new Date(valid.to) }),
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: host }] },
    ],
  });
  return { certificate: cert, key };
}
