/** Listening sockets that the process has inherited from whoever started it: a supervisor, or systemd (sd_listen_fds(3)). */

const firstFd = 3;

/**
 * @param name a number, or a name in LISTEN_FDNAMES
 * @param env where systemd says what it has given, and to which process: this one, or the primary of this worker
 * @throws Error if there is no socket of that name
 */
export function inheritedFd(
  name: string,
  env: NodeJS.ProcessEnv = process.env,
  pids: readonly number[] = [process.pid, process.ppid],
): number {
  if (/^\d+$/.test(name)) return Number(name);
  const { LISTEN_PID: pid, LISTEN_FDS: count = '0', LISTEN_FDNAMES: names = '' } = env;
  const isForUs = pid === undefined || pids.includes(Number(pid));
  const index = isForUs ? names.split(':').slice(0, Number(count)).indexOf(name) : -1;
  if (index < 0) throw new Error(`no socket named "${name}" has been handed over (LISTEN_FDS, LISTEN_FDNAMES)`);
  return firstFd + index;
}
