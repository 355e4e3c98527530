/** Certificates for tests of TLS, made on the spot. */
import { generate } from 'selfsigned';

export interface Certificate {
  certificate: string;
  key: string;
}

/** A self-signed certificate for a host name; it can serve as its own authority. */
export async function makeCertificate(host: string): Promise<Certificate> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: host }], {
    keyType: 'ec',
    extensions: [
      { name: 'basicConstraints', cA: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: host }] },
    ],
  });
  return { certificate: cert, key };
}
