/** Sets of IP addresses, as configs write them: addresses, and networks in CIDR notation (RFC 4632, RFC 4291 section 2.3). */
import net from 'node:net';

/**
 * Returns a function that tells whether an address is in one of the networks. IPv4 addresses may also be given in their IPv6 form.
 * @param list `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`
 * @throws SyntaxError that names what is none of these
 */
export function networks(list: readonly string[]): (address: string) => boolean {
  const blocks = new net.BlockList();
  for (const text of list) {
    const [, address = '', length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
    const version = net.isIP(address);
    const bits = version === 4 ? 32 : 128;
    if (version === 0 || Number(length ?? bits) > bits) {
      throw new SyntaxError(`"${text}" is neither an IP address nor a network such as 10.0.0.0/8`);
    }
    blocks.addSubnet(address, Number(length ?? bits), version === 4 ? 'ipv4' : 'ipv6');
  }
  return (address) => blocks.check(address, net.isIPv6(address) ? 'ipv6' : 'ipv4');
}
