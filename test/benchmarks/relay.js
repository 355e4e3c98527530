/**
 * What is measured beside the real balancers: the least that Node.js can do, a pipe for each connection, in turn to each
 * backend: node relay.js PORT BACKEND_PORT…
 */
import net from 'node:net';

const [port, ...backendPorts] = process.argv.slice(2).map(Number);
let turn = 0;
net
  .createServer({ noDelay: true }, (client) => {
    const link = net.connect({ port: backendPorts[turn++ % backendPorts.length], host: '127.0.0.1', noDelay: true });
    client.on('error', () => link.destroy());
    link.on('error', () => client.destroy());
    client.pipe(link).pipe(client);
  })
  .listen({ port, host: '127.0.0.1', backlog: 4096 });
